"""What holds the house together: direction of imports, tables of contents, recipes, documented commands, files."""

import ast
import contextlib
import importlib
import importlib.metadata
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from featurizers import Grid, check_featurizer
from pipelines import run
from pipelines.model import build_line
from pipelines.recipe import SECTIONS, load_recipe

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("surnn", "featurizers", "pipelines")
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *RECIPES]
NEVER_IMPORTED = {
    "surnn": {"featurizers", "pipelines", "av", "librosa", "lightning", "torchaudio", "torchvision"},
    "featurizers": {"surnn", "pipelines", "lightning"},
    "pipelines": set[str](),
}
LARGEST_PICTURE_BYTES = 150_000
LARGEST_TEXT_BYTES = 150_000


def imported_packages(path: Path) -> set[str]:
    """Outermost names of everything a file imports, anywhere in it; its own package for relative imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): imported_packages(path) & NEVER_IMPORTED[room] for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("room", ["surnn", "featurizers"])
def test_importing_a_room_brings_in_no_other_room(room: str) -> None:
    script = f"import sys, {room}; print(*(set(sys.modules) & {NEVER_IMPORTED[room]!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_import_is_required_and_every_requirement_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = {_distribution(line) for line in project["project"]["dependencies"]}
    imported = {name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in imported_packages(path)}
    brought = {"triton", "llvmlite"}  # by torch, where it runs, and by numba
    foreign = imported - set(sys.stdlib_module_names) - set(ROOMS) - brought
    of_module = importlib.metadata.packages_distributions()
    named = {_distribution(of_module[name][0]) for name in foreign}
    assert named - required == set(), "imported, but not required"
    assert required - named == set(), "required, but not imported"


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace("_", "-")


def packages() -> list[str]:
    found = list(ROOMS)
    for room in ROOMS:
        found += [m.name for m in pkgutil.walk_packages([str(ROOT / room)], f"{room}.") if m.ispkg]
    return found


@pytest.mark.parametrize("package", packages())
def test_all_is_the_table_of_contents_and_every_name_in_it_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    defined: set[str] = set()
    assert module.__file__ is not None
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in ROOMS):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
    local = {"model", "results"} if package == "pipelines" else set()  # modules that its __getattr__ reads
    assert sorted(module.__all__) == sorted(n for n in defined - local if not n.startswith("_"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_parses_and_builds(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("wave", "jump"):  # what recipes for a user's own clips look for
        (tmp_path / "clips" / label).mkdir(parents=True)
        with av.open(str(tmp_path / "clips" / label / "one.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux([*stream.encode(frame), *stream.encode(None)])
    recipe = load_recipe(path)
    labels = recipe.corpus.build().labels
    assert recipe.task.build() is not None
    line = build_line(recipe, len(labels))
    assert line.head.num_labels == len(labels)
    assert recipe.foreign_classes() == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_section_of_a_recipe_has_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+:", line):
            assert lines[number - 1].startswith("# "), f"{path.name}, line {number + 1}: {line}"


def test_glossary_has_every_section_of_a_recipe() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    verbs = {"train", "evaluate"}
    assert [name for name in SECTIONS if name not in verbs and f"**{name}**" not in glossary] == []


def test_print_config_shows_the_recipe_and_nothing_else() -> None:
    command = [sys.executable, "-m", "pipelines.run", "recipes/kws.yaml", "--print_config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"# {SECTIONS['task'].doc}\ntask:\n")


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    """Module and arguments of every `python -m ...` in README, docs and recipes."""
    for path in DOCUMENTS:
        for module, rest in re.findall(r"python -m (\w+(?:\.\w+)*)([^`\n]*)", path.read_text(encoding="utf-8")):
            command = re.split(r"\s(?:>|&&)\s|\s{3,}", rest)[0]  # up to a redirection, or words on the same line
            yield module, shlex.split(command)


COMMANDS = [*documented_commands()]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module that docs/recipe.md shows, on the Python path."""
    (tmp_path / "my_lab.py").write_text(python_blocks(ROOT / "docs" / "recipe.md")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_lab", raising=False)
    monkeypatch.chdir(ROOT)
    return tmp_path


def test_commands_are_documented() -> None:
    assert {module for module, _ in COMMANDS} >= {"pipelines.run", "pipelines.tag"}


@pytest.mark.usefixtures("my_lab")
@pytest.mark.parametrize(("module", "arguments"), COMMANDS, ids=lambda value: str(value)[:60])
def test_documented_commands_are_accepted(
    module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module(module)
    if module == "pipelines.run":
        of_user = {"my.yaml": "recipes/kws.yaml", "birds.yaml": "recipes/sed.yaml"}
        known = [of_user.get(argument, argument) for argument in arguments]
        assert run.main([*known, "--print_config"]) == 0, capsys.readouterr().err
        return
    with contextlib.suppress(SystemExit):  # argparse's own --help leaves so
        command.main(["--help"])
    options = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {argument.split("=")[0] for argument in arguments if argument.startswith("--")} <= options


@pytest.mark.usefixtures("my_lab")
def test_the_documented_featurizer_keeps_its_promises_and_builds_from_a_recipe() -> None:
    loudness = importlib.import_module("my_lab").Loudness
    check_featurizer(loudness(Grid(0.08)), Grid(0.08))
    recipe = load_recipe("recipes/kws.yaml", [("featurizer", "my_lab.Loudness"), ("glance", "my_lab.Loudness")])
    assert build_line(recipe, 2).featurizer.size == 8
    exec(python_blocks(ROOT / "docs" / "recipe.md")[1], {})


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*DOCUMENTS, ROOT / "CHANGELOG.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (path.parent / link).exists(), f"{path.name}: {link}"


def tracked_files() -> list[Path]:
    """What a commit of the folder as it is would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_files_name_no_folder_of_a_machine_and_no_registry() -> None:
    machine_path = re.compile(r"(?<![\w.~])/(work|root|home|Users|opt|mnt|tmp)/\w")
    registry = re.compile(r"https?://[^\s)\"'>]*(pypi|pythonhosted|registry|artifact|/simple)")
    found = []
    for path in tracked_files():
        if path.suffix == ".png":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if machine_path.search(line) or registry.search(line):
                found.append(f"{path.relative_to(ROOT)}, line {number}: {line.strip()}")
    assert found == []


def test_files_are_small_text_and_a_few_pictures() -> None:
    files = tracked_files()
    pictures = [path for path in files if path.suffix == ".png"]
    names = ["method_costs.png", "method_gradients.png", "method_length.png", "recording.png"]
    assert sorted(pictures) == [ROOT / "docs" / name for name in names]
    assert all(path.stat().st_size <= LARGEST_PICTURE_BYTES for path in pictures)
    for path in set(files) - set(pictures):
        content = path.read_bytes()
        assert b"\0" not in content, f"{path.name} is no text"
        assert len(content) <= LARGEST_TEXT_BYTES, f"{path.name} is large: {len(content)} bytes"
