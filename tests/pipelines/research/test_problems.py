"""Generators of sequence problems: hand-worked cases, independent oracles, and what their descriptions promise."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision
from scipy.integrate import solve_ivp

from pipelines.errors import UserError
from pipelines.research import (
    Adding,
    LabelledTexts,
    Language,
    ListOps,
    MackeyGlass,
    Pathfinder,
    Problem,
    SelectiveCopy,
    SequentialDigits,
    TorchvisionImages,
)
from pipelines.research.contract import IGNORED, seeded
from pipelines.research.listops import applied, text_of
from pipelines.research.synthetic import mackey_glass

SMALL: list[Problem] = [
    SelectiveCopy(length=20, num_test=10),
    Adding(length=12, num_test=10),
    MackeyGlass(length=30, num_test=4),
    ListOps(min_length=6, max_length=24, num_train=50, num_test=12),
    SequentialDigits(permuted=True, delay_frames=3),
    Pathfinder(num_dashes=2, num_distractors=0, num_train=12, num_test=8),
    Language(length=20),
]


@pytest.mark.parametrize("problem", SMALL, ids=lambda problem: problem.title)
def test_batches_fit_what_the_problem_says_of_itself(problem: Problem) -> None:
    batch = problem.draw(5, seeded(1))
    assert batch.frames.shape[0] == 5
    if problem.reads_symbols:
        assert 0 <= int(batch.frames.min()) <= int(batch.frames.max()) < problem.input_size
    else:
        assert batch.frames.shape[2] == problem.input_size
    assert batch.targets.dim() == (1 if problem.answers == "sequence" else 2)
    if not batch.targets.is_floating_point():
        asked = batch.targets[batch.targets != IGNORED]
        assert int(asked.max()) < problem.num_outputs
        assert int(asked.min()) >= 0


@pytest.mark.parametrize("problem", SMALL, ids=lambda problem: problem.title)
def test_the_generator_alone_decides_what_is_drawn_and_splits_stay_the_same(problem: Problem) -> None:
    once, again, other = (problem.draw(6, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(once.frames, again.frames)
    assert once.frames.shape != other.frames.shape or not torch.equal(once.frames, other.frames)
    for first, second in zip(problem.batches("test", 4), problem.batches("test", 4), strict=True):
        assert torch.equal(first.frames, second.frames)
    validation, test = (next(iter(problem.batches(split, 4))).frames for split in ("validation", "test"))
    assert validation.shape != test.shape or not torch.equal(validation, test)


def test_selective_copy_asks_for_the_symbols_in_their_order() -> None:
    batch = SelectiveCopy(length=50, num_tokens=5, num_symbols=4).draw(20, seeded(0))
    for frames, targets in zip(batch.frames.tolist(), batch.targets.tolist(), strict=True):
        assert [symbol for symbol in frames[:50] if symbol < 4] == targets[50:]
        assert frames[50:] == [5] * 5
        assert targets[:50] == [IGNORED] * 50


def test_adding_sums_the_two_marked_numbers_one_of_each_half() -> None:
    batch = Adding(length=10).draw(50, seeded(0))
    for frames, target in zip(batch.frames.tolist(), batch.targets.tolist(), strict=True):
        places = [place for place, (_, mark) in enumerate(frames) if mark == 1]
        assert len(places) == 2
        assert places[0] < 5 <= places[1]
        assert target == pytest.approx(frames[places[0]][0] + frames[places[1]][0], abs=1e-6)


def test_mackey_glass_agrees_with_an_adaptive_solver() -> None:
    """The method of steps: over each stretch of tau the delayed values are known, so scipy solves a plain equation."""
    tau, history = 4, torch.tensor([[1.1, 1.3, 0.9, 1.2, 1.25]]).double()
    ours = mackey_glass(history, 2 * tau, steps_per_frame=100)[0]

    def past(t: float) -> float:
        low = min(int(t), tau - 1)
        return float(history[0, low] + (t - low) * (history[0, low + 1] - history[0, low]))

    delayed, start, found = past, float(history[0, -1]), []
    for _ in range(2):
        known = delayed
        solved = solve_ivp(
            lambda t, x, known=known: 0.2 * known(t) / (1 + known(t) ** 10) - 0.1 * x,
            (0, tau),
            [start],
            dense_output=True,
            max_step=0.02,
            rtol=1e-9,
        )
        found += [float(solved.sol(t)[0]) for t in range(1, tau + 1)]
        delayed, start = lambda t, solved=solved: float(solved.sol(t)[0]), float(solved.y[0, -1])
    assert ours.tolist() == pytest.approx(found, abs=2e-6)  # midpoint rule at 0.01, kinks of the linear history


def test_mackey_glass_asks_for_the_series_itself_some_frames_ahead() -> None:
    problem = MackeyGlass(length=40, ahead_frames=15)
    batch = problem.draw(2, seeded(5))
    assert torch.equal(batch.frames[:, 15:, 0], batch.targets[:, :25])
    assert 0.1 < float(batch.frames.std()) < 0.4


@pytest.mark.parametrize(
    ("operator", "arguments", "value"),
    [("[MIN", [4, 2, 9], 2), ("[MAX", [4, 2, 9], 9), ("[MED", [1, 2, 8, 9], 5), ("[MED", [1, 2, 5, 9], 3)],
)
def test_operators_by_hand(operator: str, arguments: list[int], value: int) -> None:
    assert applied(operator, arguments) == value
    assert applied("[SM", [7, 8, 9]) == 4


def innermost_first(text: str) -> int:
    """An evaluator of its own: rewrites innermost lists until a digit is left."""
    while "[" in text:
        text = re.sub(r"\[(MIN|MAX|MED|SM)((?: \d)+) \]", worked_out, text)
    return int(text)


def worked_out(found: re.Match[str]) -> str:
    numbers = sorted(int(number) for number in found[2].split())
    middle = len(numbers) // 2
    median = (numbers[middle] + numbers[~middle]) // 2
    values = {"MIN": numbers[0], "MAX": numbers[-1], "MED": median, "SM": sum(numbers) % 10}
    return str(values[found[1]])


def test_listops_answers_are_those_of_another_evaluator_and_lengths_keep_to_the_limits() -> None:
    problem = ListOps(min_length=8, max_length=60, max_depth=5, num_train=300, num_test=10)
    batch = problem.draw(200, seeded(0))
    assert batch.lengths is not None
    assert 8 <= int(batch.lengths.min()) <= int(batch.lengths.max()) <= 60
    depths = set()
    for frames, length, value in zip(batch.frames, batch.lengths.tolist(), batch.targets.tolist(), strict=True):
        text = text_of(frames[:length].tolist())
        assert innermost_first(text) == value
        assert set(frames[length:].tolist()) <= {15}
        depths.add(depth_of(text))
    assert max(depths) == 5
    assert len(set(batch.targets.tolist())) == 10


def depth_of(text: str) -> int:
    depth = deepest = 0
    for symbol in text.split():
        depth += symbol.startswith("[") - (symbol == "]")
        deepest = max(deepest, depth)
    assert depth == 0
    return deepest


def test_digits_are_those_of_scikit_learn_in_reading_order_and_permuted_by_one_order() -> None:
    from sklearn.datasets import load_digits

    pictures, classes = load_digits(return_X_y=True)
    plain = next(iter(SequentialDigits().batches("test", 360)))
    assert plain.targets.tolist() == classes[-360:].tolist()
    assert torch.equal(plain.frames[..., 0], torch.tensor(pictures[-360:]).float() / 16)
    permuted = next(iter(SequentialDigits(permuted=True).batches("test", 360)))
    orders = plain.frames[:, :, None, 0] == permuted.frames[:, None, :, 0]
    assert (orders.all(0).sum(0) >= 1).all()  # every place shows the pixel of one place, in all pictures
    assert not torch.equal(plain.frames, permuted.frames)


def test_a_delay_puts_marked_noise_after_the_picture() -> None:
    batch = SequentialDigits(delay_frames=7).draw(3, seeded(0))
    assert batch.frames.shape == (3, 71, 2)
    assert (batch.frames[:, :64, 1] == 1).all()
    assert (batch.frames[:, 64:, 1] == 0).all()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="needs the package scikit-learn"):
        SequentialDigits()


@pytest.mark.parametrize(
    ("problem", "arguments", "match"),
    [
        (SelectiveCopy, {"length": 3, "num_tokens": 4}, "num_tokens=4"),
        (Adding, {"length": 1}, "length=1"),
        (MackeyGlass, {"delay": 0}, "delay=0"),
        (ListOps, {"min_length": 30, "max_length": 40, "max_depth": 1}, "allow more arguments or depth"),
    ],
)
def test_sizes_that_cannot_be_are_refused(problem: type, arguments: dict[str, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        problem(**arguments)


@pytest.mark.parametrize("is_connected", [True, False])
def test_pathfinder_answers_are_what_flood_filling_finds(is_connected: bool) -> None:
    """Without gaps a path is one region of touching pixels; dots are the only squares of 3 x 3."""
    problem = Pathfinder(size=24, num_dashes=4, num_distractors=2, dash=3.0, gap=0.0)
    rng = np.random.default_rng(3)
    checked = 0
    for _ in range(20):
        picture = problem.picture(rng, is_connected)
        regions, _ = scipy.ndimage.label(picture, np.ones((3, 3)))
        squares, number = scipy.ndimage.label(scipy.ndimage.binary_opening(picture, np.ones((3, 3))))
        if number != 2:
            continue  # a curled path can look like a dot
        first, second = (regions[squares == dot][0] for dot in (1, 2))
        assert (first == second) == is_connected
        checked += 1
    assert checked > 10


def test_pathfinder_halves_are_connected_and_splits_differ() -> None:
    problem = Pathfinder(num_dashes=2, num_train=10, num_test=10)
    labels = torch.cat([batch.targets for batch in problem.batches("test", 4)])
    assert int(labels.sum()) == 5
    test, validation = (next(iter(problem.batches(split, 10))).frames for split in ("test", "validation"))
    assert not torch.equal(test, validation)
    assert test.shape == (10, 256, 1)


def test_pathfinder_without_room_for_its_paths_says_so() -> None:
    problem = Pathfinder(size=12, num_dashes=2, num_distractors=30)
    with pytest.raises(ValueError, match="no room"):
        problem.picture(np.random.default_rng(0), True)


def test_language_asks_for_the_symbol_that_follows(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcdefghij" * 100)
    problem = Language(text=str(tmp_path / "text.txt"), length=7)
    batch = problem.draw(4, seeded(0))
    for frames, targets in zip(batch.frames.tolist(), batch.targets.tolist(), strict=True):
        first = "abcdefghij".index(problem.symbols[frames[0]])
        wanted = [("abcdefghij" * 2)[first + n] for n in range(8)]
        assert [problem.symbols[each] for each in frames] == wanted[:7]
        assert [problem.symbols[each] for each in targets] == wanted[1:]


def test_rare_words_are_one_symbol_and_windows_cover_the_split_once(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one two, " * 190 + "three two, " * 10)
    problem = Language(text=str(tmp_path / "text.txt"), unit="words", length=5, num_words=3)
    assert problem.symbols == ("", "one", "two", ",")
    windows = torch.cat([batch.frames for batch in problem.batches("test", 2)])
    assert windows.shape == (5, 5)  # 30 words of 600; the last window needs one more to ask for
    assert 0 in windows


def test_a_text_that_is_missing_or_short_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt cannot be read"):
        Language(text=str(tmp_path / "none.txt"))
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(UserError, match="has 5 characters"):
        Language(text=str(tmp_path / "short.txt"))


def test_labelled_texts_are_read_byte_by_byte_alone_or_in_pairs(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.tsv").write_text("1\tab\n0.0\tid\tid\tabc\té\n")
    batch = next(iter(LabelledTexts(folder=str(tmp_path), length=2).batches("test", 2)))
    assert batch.frames.tolist() == [[98, 99, 0, 0, 0], [98, 99, 257, 196, 170]]
    assert batch.targets.tolist() == [1, 0]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("line", "match"), [("good\tfilm", "the rule is label"), ("7\tfilm", "label 7"), ("", "no examples")]
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, line: str, match: str) -> None:
    (tmp_path / "train.tsv").write_text(line)
    with pytest.raises(UserError, match=match):
        LabelledTexts(folder=str(tmp_path))


def test_torchvision_pictures_are_read_in_order_and_a_missing_network_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake:
        """Pictures whose pixels count up, as torchvision's class would hold them."""

        def __init__(self, folder: Path, *, train: bool, download: bool) -> None:
            if "nowhere" in str(folder):
                raise RuntimeError("no route")
            assert download
            number = 5_010 if train else 4
            self.data = np.arange(number * 12, dtype=np.int64).reshape(number, 2, 2, 3) % 256
            self.targets = [index % 10 for index in range(number)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Fake)
    problem = TorchvisionImages(name="CIFAR10", folder=str(tmp_path))
    batch = next(iter(problem.batches("test", 2)))
    assert (batch.frames[0, :, :3] * 255).flatten().tolist() == pytest.approx(list(range(12)))
    assert (problem.input_size, problem.num_outputs) == (4, 10)
    grey = next(iter(TorchvisionImages(name="CIFAR10", folder=str(tmp_path), is_grey=True).batches("test", 2)))
    assert float(grey.frames[0, 0, 0] * 255) == pytest.approx(0.587 + 2 * 0.114)
    with pytest.raises(UserError, match="cannot be downloaded"):
        TorchvisionImages(name="CIFAR10", folder=str(tmp_path / "nowhere"))
