"""Recipes: what is read, what is refused and in which words, and that a written recipe is the same recipe."""

import dataclasses
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import RecipeError
from pipelines.recipe import SECTIONS, Recipe, TrainOptions, changed_keys, explain, load_recipe, save_recipe
from pipelines.yaml_text import read_document, read_value, write_yaml


class Task:
    pass


class Corpus:
    """Words in streams.

    Args:
        words: what is said.
        hours: how much of it.
    """

    def __init__(self, words: Sequence[str], *, hours: float = 1.5, sets: dict[str, float] | None = None) -> None:
        self.words, self.hours, self.sets = words, hours, sets


class Glance:
    def __init__(self, grid: Any, *, num_mels: int = 32, kind: Literal["mel", "bark"] = "mel") -> None:
        if num_mels < 1:
            raise ValueError(f"num_mels={num_mels} must be at least 1")
        self.grid, self.num_mels, self.kind = grid, num_mels, kind
        self.needs, self.size = None, num_mels

    def evaluate(self, stretch: Any, first_frame: Any, num_frames: int) -> Any:
        raise NotImplementedError


class Untyped:  # a user's class: no annotations, no docstring
    def __init__(self, grid, glance_size=None, *, word="yes"):  # type: ignore[no-untyped-def]
        self.grid, self.glance_size, self.word = grid, glance_size, word
        self.needs, self.size = None, 3

    def evaluate(self, stretch, first_frame, num_frames):  # type: ignore[no-untyped-def]
        raise NotImplementedError


class Demanding(Untyped):
    def __init__(self, grid, depth):  # type: ignore[no-untyped-def]
        super().__init__(grid)
        self.depth = depth


class Forgetful(Untyped):
    def __init__(self, grid: Any) -> None:
        pass


class Gate:
    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int, *, frame_budget: float = 0.1) -> None:
        self.glance_size, self.frame_budget = glance_size, frame_budget

    def switch(self, glance: Any, first_frame: int = 0, among: Any = None) -> Any:
        raise NotImplementedError


class NoSwitch:
    def __init__(self, glance_size: int) -> None:
        pass


class ShortSwitch(NoSwitch):
    def switch(self, glance: Any) -> Any:
        raise NotImplementedError


class NoGrid:
    def evaluate(self, stretch: Any, first_frame: Any, num_frames: int) -> Any:
        raise NotImplementedError


class Head:
    def __init__(self, hidden_size: int, num_labels: int, *, squash: Callable[[float], float] = abs) -> None:
        self.hidden_size, self.num_labels, self.squash = hidden_size, num_labels, squash


HERE = __name__
PLAIN = f"""\
task: {HERE}.Task
corpus:
  class_path: {HERE}.Corpus
  init_args:
    words: [yes, no, on, off]
glance: {HERE}.Glance
switch: {HERE}.Gate
featurizer: {HERE}.Untyped
head: {HERE}.Head
train:
  max_epochs: 5
  learning_rate: 1e-3
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_recipe(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write_recipe


Write = Callable[[str], Path]


def refusal(path: Path, *overrides: tuple[str, str], trust: tuple[str, ...] | None = None) -> str:
    """The message with which a recipe is refused, its file's name shortened."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides, trust=trust)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def test_a_recipe_is_completed_with_the_defaults_of_the_code(write: Write) -> None:
    recipe = load_recipe(write(PLAIN))
    assert recipe.train == TrainOptions(max_epochs=5, learning_rate=0.001)
    assert recipe.glance.init_args == {"num_mels": 32, "kind": "mel"}
    assert recipe.corpus.init_args == {"words": ["yes", "no", "on", "off"], "hours": 1.5, "sets": None}


def test_bare_yes_no_on_off_are_words_and_1e_3_is_a_number(write: Write) -> None:
    assert yaml.safe_load("[yes, off, 1e-3]") == [True, False, "1e-3"]  # the trap
    recipe = load_recipe(write(PLAIN), [("corpus.init_args.words", "[on, no]"), ("train.weight_decay", "2e-2")])
    assert recipe.corpus.init_args["words"] == ["on", "no"]
    assert recipe.train.weight_decay == 0.02


def test_the_pipeline_gives_the_leading_arguments_and_the_recipe_the_others(write: Write) -> None:
    recipe = load_recipe(write(PLAIN), [("glance.init_args.num_mels", "8"), ("head.init_args.squash", "math.sqrt")])
    glance = recipe.glance.build("the grid")
    assert (glance.grid, glance.num_mels) == ("the grid", 8)
    featurizer = recipe.featurizer.build("the grid", glance_size=8)
    assert (featurizer.glance_size, featurizer.word) == (8, "yes")
    head = recipe.head.build(96, 10)
    assert (head.hidden_size, head.num_labels, head.squash(16)) == (96, 10, 4)
    assert recipe.corpus.build().words == ["yes", "no", "on", "off"]


def test_an_offered_argument_goes_only_to_classes_that_take_it(write: Write) -> None:
    recipe = load_recipe(write(PLAIN), [("featurizer", f"{HERE}.Glance")])
    assert recipe.featurizer.build("the grid", glance_size=8).grid == "the grid"


def test_text_for_a_parameter_without_a_type_stays_text(write: Write) -> None:
    recipe = load_recipe(write(PLAIN), [("featurizer.init_args.word", "no")])
    assert recipe.featurizer.build("the grid", glance_size=8).word == "no"


def test_a_saved_recipe_is_the_same_recipe_and_saving_it_again_the_same_bytes(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write(PLAIN), [("corpus.init_args.words", "['1e3', '', 'true', 'a: b', \"it's\", 'null']")])
    save_recipe(recipe, tmp_path / "one.yaml")
    again = load_recipe(tmp_path / "one.yaml")
    save_recipe(again, tmp_path / "two.yaml")
    assert again == recipe
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()
    assert "# what is said" in (tmp_path / "one.yaml").read_text()


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain_data)
def test_any_plain_data_survives_being_written_and_read(data: Any) -> None:
    assert read_value(write_yaml({"key": data}), "test", "") == {"key": data}


@given(st.sampled_from(["yes", "No", "on", "0o17", "1e3", "0b1", "1_000", "12:30", ".5", "2020-01-01", "~", "=", "<<"]))
def test_written_text_is_text_for_other_yaml_readers_too(text: str) -> None:
    assert yaml.safe_load(write_yaml([text])) == [text]


def test_a_class_path_on_the_command_line_replaces_class_and_arguments(write: Write) -> None:
    text = PLAIN.replace(f"glance: {HERE}.Glance", f"glance: {{class_path: {HERE}.Glance, init_args: {{num_mels: 4}}}}")
    recipe = load_recipe(write(text), [("glance", f"{HERE}.Untyped"), ("glance.init_args.word", "hm")])
    assert recipe.glance.init_args == {"glance_size": None, "word": "hm"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  max_epochs: 5", "  max_epoch: 5", "FILE, line 11: train.max_epoch: no such key; did you mean max_epochs?"),
        ("  max_epochs: 5", "  max_epochs: five", "line 11: train.max_epochs: expected int; got the text 'five'"),
        ("  max_epochs: 5", "  max_epochs: 2.5", "line 11: train.max_epochs: expected int; got the number 2.5"),
        ("  max_epochs: 5", "  max_epochs: 5\n  max_epochs: 6", "line 12: train.max_epochs: is given twice (first"),
        ("[yes, no, on, off]", "[yes, true]", "line 5: corpus.init_args.words: expected Sequence[str]; got a list with "
         "the truth value true (in quotes it is text) in it"),
        ("words:", "word:", "line 5: corpus.init_args.word: no such key; did you mean words?"),
        ("  init_args:\n    words: [yes, no, on, off]\n", "", "line 3: corpus.class_path: Corpus needs words, of type"),
        ("  init_args:\n    words:", "  words:", "corpus.words: no such key; arguments of the class go under"),
        ("train:", "trian:", "line 10: trian: no such section; did you mean train?"),
        ("train:\n  max_epochs: 5\n  learning_rate: 1e-3", "train: 5", "line 10: train: expected a mapping of options"),
        (f"glance: {HERE}.Glance\n", "", "FILE: glance: needs this section"),
        (".Glance", ".Glanze", f"line 6: glance.class_path: {HERE} has no Glanze; did you mean Glance?"),
        (f"{HERE}.Glance", "nowhere.Glance", "glance.class_path: no module nowhere on the Python path"),
        (f"{HERE}.Glance", "featurizers.nowhere.Glance", "glance.class_path: featurizers has no nowhere"),
        (f"{HERE}.Glance", "Glance", "'Glance' is not the dotted path of a class"),
        (f"{HERE}.Glance", f"{HERE}.HERE", f"glance.class_path: {HERE}.HERE is not a class"),
        (f"{HERE}.Glance", "[1, 2]", "glance: expected the dotted path of a class"),
        (".Untyped", ".Demanding", "line 8: featurizer.class_path: Demanding needs depth, of type any value"),
        (".Gate", ".NoSwitch", "switch.class_path: NoSwitch has no method switch; expected switch(self, glance: "),
        (".Gate", ".ShortSwitch", "ShortSwitch.switch(self, glance: Any) -> Any does not fit; expected switch(self, "),
        (".Glance", ".NoGrid", "NoGrid must take what the pipeline gives first: expected __init__(self, grid, ...)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_the_way_out(write: Write, old: str, new: str, message: str) -> None:
    assert PLAIN.count(old) == 1
    assert message in refusal(write(PLAIN.replace(old, new)))


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("train.max_epoch", "3", "command line: train.max_epoch: no such key; did you mean max_epochs?"),
        ("train.max_epochs", "[3", "command line: train.max_epochs: is not YAML"),
        ("trian.max_epochs", "3", "command line: trian.max_epochs: no such key; did you mean train?"),
        ("encoder.cell", "lsdm", "command line: encoder.cell: expected one of gru, lstm, rnn; got the text 'lsdm'"),
        ("glance.init_args.grid", "1", "glance.init_args.grid: is given by the pipeline; leave it out"),
        ("glance.init_args.kind", "bork", "expected one of mel, bark; got the text 'bork'"),
        ("corpus.init_args.sets", "{a: x}", "corpus.init_args.sets: expected dict[str, float] or None; got a mapping"),
        ("train.max_epochs.deeper", "3", "train.max_epochs is not a mapping"),
    ],
)
def test_a_mistake_on_the_command_line_says_so(write: Write, key: str, text: str, message: str) -> None:
    assert message in refusal(write(PLAIN), (key, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE: is empty"),
        (b"# only a comment\n", "FILE: is empty"),
        (b"- a\n- list\n", "FILE, line 1: holds a list; a recipe is a mapping"),
        (b"just words", "FILE, line 1: holds the text 'just words'"),
        (b"a: [1, 2\nb: 3\n", "FILE, line 2: is not YAML"),
        (b"a: 1\n---\nb: 2\n", "FILE, line 2: is not YAML"),
        (b"a: !!python/object:os.system {}\n", "no such section"),
        (b"a: !!python/name:os.system x\n", "FILE, line 1: the tag tag:yaml.org,2002:python/name:os.system has no"),
        (b"a: &a [*a]\n", "FILE, line 1: a.0: contains itself"),
        (b"RIFF\xff\xfe\x00\x01", "FILE: is not UTF-8 text (byte 4)"),
        (b"a: \x00\n", "FILE: is not YAML"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recipe_gets_one_clear_message(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_missing_recipe_names_the_nearest_file(write: Write, tmp_path: Path) -> None:
    path = write(PLAIN)
    assert refusal(tmp_path / "mien.yaml") == f"FILE: no such file; did you mean {path}?"
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_module_of_the_user_that_fails_is_named_with_file_and_line(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_broken.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "my_typo.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "my_needs.py").write_text("import a_package_that_nobody_has\n")
    broken, typo, needs = (
        refusal(write(PLAIN), ("glance", f"{name}.Mine")) for name in ("my_broken", "my_typo", "my_needs")
    )
    assert f"fails while it is imported ({tmp_path}/my_broken.py, line 2): ZeroDivisionError" in broken
    assert f"({tmp_path}/my_typo.py, line 2): SyntaxError" in typo
    assert (
        f"needs the package a_package_that_nobody_has, which is not installed ({tmp_path}/my_needs.py, line 1)" in needs
    )


def test_a_constructor_that_refuses_and_a_forgotten_attribute_are_named(write: Write) -> None:
    recipe = load_recipe(write(PLAIN), [("glance.init_args.num_mels", "0"), ("featurizer", f"{HERE}.Forgetful")])
    with pytest.raises(RecipeError, match=r"line 6: glance.* num_mels=0 must be at least 1"):
        recipe.glance.build("grid")
    with pytest.raises(RecipeError, match="Forgetful sets no attribute needs; Featurizer asks for needs: "):
        recipe.featurizer.build("grid", glance_size=3)


FOREIGN = """
import pathlib
pathlib.Path(__file__).with_suffix(".was_imported").touch()
class Glance:
    def __init__(self, grid): self.needs, self.size = None, 1
    def evaluate(self, stretch, first_frame, num_frames): ...
def squash(x): ...
"""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("glance", "my_foreign.Glance"),
        ("glance.class_path", "my_foreign.Glance"),
        ("head.init_args.squash", "my_foreign.squash"),
        ("corpus.init_args.sets", "{class_path: my_foreign.Glance}"),
    ],
)
def test_what_is_not_trusted_is_refused_before_it_is_imported(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, text: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_foreign.py").write_text(FOREIGN)
    trusted = tuple(f"{HERE}.{name}" for name in ("Task", "Corpus", "Glance", "Gate", "Untyped", "Head"))
    assert "trusted" in refusal(write(PLAIN), (key, text), trust=trusted)
    assert not (tmp_path / "my_foreign.was_imported").exists()
    assert "my_foreign" not in sys.modules
    assert load_recipe(write(PLAIN), trust=trusted).foreign_classes() == sorted(trusted)


def test_a_foreign_class_can_be_trusted_by_name(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_trusted.py").write_text(FOREIGN)
    trusted = [f"{HERE}.{name}" for name in ("Task", "Corpus", "Gate", "Untyped", "Head")]
    overrides = [("glance", "my_trusted.Glance")]
    assert "my_trusted.Glance" in refusal(write(PLAIN), *overrides, trust=tuple(trusted))
    recipe = load_recipe(write(PLAIN), overrides, trust=[*trusted, "my_trusted.Glance"])
    assert recipe.glance.build("grid").size == 1
    monkeypatch.delitem(sys.modules, "my_trusted")


@pytest.mark.parametrize(
    "path", ["pipelines.run.argparse.ArgumentParser", "pipelines.runfolder.tempfile.TemporaryDirectory"]
)
def test_a_path_through_our_packages_into_others_is_not_ours(write: Write, path: str) -> None:
    trusted = tuple(f"{HERE}.{name}" for name in ("Corpus", "Glance", "Gate", "Untyped", "Head"))
    assert "which is not trusted" in refusal(write(PLAIN), ("task", path), trust=trusted)


def test_changed_keys_are_named(write: Write) -> None:
    one, other = (
        load_recipe(write(PLAIN)),
        load_recipe(write(PLAIN), [("train.max_epochs", "6"), ("grid.hop_seconds", "0.1")]),
    )
    assert changed_keys(one, one) == []
    assert changed_keys(one, other) == ["grid.hop_seconds", "train.max_epochs"]


def test_help_explains_every_option_and_every_argument_of_a_recipes_classes(write: Write) -> None:
    text = explain(load_recipe(write(PLAIN)))
    assert "--corpus.init_args.hours (float; default 1.5)\n      how much of it." in text
    assert "--corpus.init_args.words (Sequence[str]; must be given)" in text
    for name, section in SECTIONS.items():
        for option in section.options.__dataclass_fields__ if section.options else ():
            assert f"--{name}.{option} (" in explain()


def test_every_option_is_explained_in_its_docstring() -> None:
    for section in SECTIONS.values():
        for option in section.options.__dataclass_fields__ if section.options else ():
            assert f"    {option}: " in (section.options.__doc__ or "")


def test_the_shipped_recipe_explains_every_section_and_names_no_unknown_option() -> None:
    text = Path("recipes/kws.yaml").read_text()
    data = read_document(Path("recipes/kws.yaml")).data
    assert list(data) == list(SECTIONS) == [name for name in SECTIONS if f"\n{name}:" in text]
    assert data["corpus"]["init_args"]["words"] == [
        "yes",
        "no",
        "up",
        "down",
        "left",
        "right",
        "on",
        "off",
        "stop",
        "go",
    ]
    for name, section in SECTIONS.items():
        if section.options:
            assert list(data[name]) == list(section.options.__dataclass_fields__)
        assert text.split(f"\n{name}:")[0].splitlines()[-1].startswith("#")


def test_a_recipe_travels_to_worker_processes(write: Write) -> None:
    import pickle

    recipe = load_recipe(write(PLAIN))
    again: Recipe = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert again.glance.build("grid").num_mels == 32


def test_comments_of_a_written_recipe_stay_within_the_page(write: Write, tmp_path: Path) -> None:
    save_recipe(load_recipe(write(PLAIN)), tmp_path / "one.yaml")
    text = (tmp_path / "one.yaml").read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert textwrap.dedent(text) == text


@dataclasses.dataclass
class Room:
    size: int = 1
    name: str = "no"


class Reader:
    def __init__(self, *, depth: int = 2) -> None:
        self.depth = depth


class DeepReader(Reader):
    def __init__(self, *, note: str = "yes", depth: int = 3) -> None:
        super().__init__(depth=depth)
        self.note = note


class Nested:
    def __init__(self, *, room: Room = Room(), reader: Reader | None = None, note="{x") -> None:  # type: ignore[no-untyped-def] # noqa: B008
        self.room, self.reader, self.note = room, reader, note


def test_arguments_may_be_objects_and_survive_being_saved(write: Write, tmp_path: Path) -> None:
    reader = f"{{class_path: {HERE}.DeepReader, init_args: {{note: 'off'}}}}"
    recipe = load_recipe(
        write(PLAIN),
        [("corpus", f"{HERE}.Nested"), ("corpus.init_args.room.size", "5"), ("corpus.init_args.reader", reader)],
    )
    save_recipe(recipe, tmp_path / "one.yaml")
    again = load_recipe(tmp_path / "one.yaml")
    assert again == recipe
    nested = again.corpus.build()
    assert nested.room == Room(5, "no")
    assert (type(nested.reader), nested.reader.note, nested.reader.depth) == (DeepReader, "off", 3)
    assert nested.note == "{x"
    message = refusal(
        write(PLAIN), ("corpus", f"{HERE}.Nested"), ("corpus.init_args.reader", reader.replace("note", "nose"))
    )
    assert "corpus.init_args.reader: expected " in message
    assert "nose" in message
