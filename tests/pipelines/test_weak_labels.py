"""Clips labelled as wholes: their loss by hand, what the switch is asked, and that a line learns times from them."""

from pathlib import Path

import pytest
import torch

from featurizers import GlanceFrames, Grid, LogMel
from pipelines.console import Progress
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.evaluate import tracks_of_frames
from pipelines.events import Event, Recording
from pipelines.heads import LevelDecay, scores_at
from pipelines.lessons import Crop, Frames, crops
from pipelines.line import Line
from pipelines.recipe import TrainOptions
from pipelines.tasks import ActionRecognition, SoundEventDetection
from pipelines.train import Lesson, train_line
from pipelines.weak_labels import asked_of_switch, clip_loss, clips_of, refuse_long_clips
from surnn import EventGate

GRID = Grid(0.08)
CLIP = 40  # frames


def test_scores_are_pooled_by_linear_softmax_and_unknown_wholes_left_out() -> None:
    scores = torch.tensor([[[0.9, 0.2], [0.3, 0.0]], [[0.5, 0.5], [0.5, 0.5]]])
    # clip 0: label 0 is there: (0.81 + 0.09) / 1.2 = 0.75; label 1 is not: 0.04 / 0.2 = 0.2; clip 1: nothing is known
    loss = clip_loss(scores, torch.tensor([[1.0, 0.0], [-1.0, -1.0]]))
    assert float(loss) == pytest.approx(-torch.tensor(0.75).log() - torch.tensor(0.8).log())
    assert float(clip_loss(scores, torch.full((2, 2), -1.0))) == 0


def test_high_scores_are_raised_and_low_ones_lowered_where_the_label_is_there() -> None:
    scores = torch.tensor([[[0.9], [0.1]]], requires_grad=True)
    torch.autograd.backward(clip_loss(scores, torch.ones(1, 1)))
    assert scores.grad is not None
    assert scores.grad[0, 0, 0] < 0 < scores.grad[0, 1, 0]


def crop_of(clips: list[list[float]] | None, *, weights: float = 1.0) -> Crop:
    """Three crops of four frames and two labels; the last frame is outside, frame 1 should be open."""
    switch = torch.zeros(3, 4)
    switch[:, 1] = 1
    is_inside = torch.ones(3, 4, dtype=torch.bool)
    is_inside[:, 3] = False
    wholes = None if clips is None else torch.tensor(clips)
    return Crop(
        torch.zeros(3, 4, 1), torch.zeros(3, 4, 0), torch.zeros(3, 4, 2), torch.full((3, 4, 2), weights), switch,
        is_inside, torch.zeros(3), torch.zeros(3, 2), wholes,
    )  # fmt: skip


def test_the_switch_is_asked_where_somebody_labelled_and_where_the_model_hears_what_is_there() -> None:
    wanted, is_asked, is_inside = asked_of_switch(crop_of(None), None)
    assert wanted.tolist() == [[0, 1, 0, 0]] * 3
    assert torch.equal(is_asked, is_inside)
    # Unlabelled time asks nothing, but where an event is known to be.
    assert asked_of_switch(crop_of(None, weights=0.0), None)[1].tolist() == [[False, True, False, False]] * 3
    logits = torch.full((3, 4, 2), -1.0)
    logits[:, 2, 0] = logits[:, 0, 1] = 1.0
    given = crop_of([[1.0, 0.0], [0.0, 0.0], [-1.0, -1.0]])
    wanted, is_asked, _ = asked_of_switch(given, logits)
    assert wanted.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert is_asked.tolist() == [[False, False, True, False], [True, True, True, False], [True, True, True, False]]
    assert not asked_of_switch(given, None)[1][0].any()  # no scores yet


def test_clips_without_times_are_wholes_for_sounds_and_any_other_recording_is_not() -> None:
    task, labels = SoundEventDetection(), ("bell", "dog")
    weak = Recording(Path("a.flac"), (), ("dog", "cat"), ())
    strong = Recording(Path("b.flac"), (Event(0.0, 1.0, "dog"),), ("dog",))
    whole = task.targets(weak, labels, GRID, 5)
    assert whole.clip is not None
    assert whole.clip.tolist() == [0, 1]
    assert not whole.weights.any()
    assert task.targets(strong, labels, GRID, 5).clip is None
    assert ActionRecognition().targets(weak, labels, GRID, 5).clip is None
    clips = clips_of([whole.clip, None])
    assert clips is not None
    assert clips.tolist() == [[0, 1], [-1, -1]]
    assert clips_of([None, None]) is None


def frames_of(num_weak: int, num_strong: int, seed: int) -> Frames:
    """Clips in half of which a bright stretch of 6 frames is an event; of the weak ones nobody marked where."""
    generator = torch.Generator().manual_seed(seed)
    number = num_weak + num_strong
    glance = torch.randn(number, CLIP, 256, generator=generator) * 0.1
    labels = torch.zeros(number, CLIP, 1, dtype=torch.bool)
    for clip in range(0, number, 2):
        start = int(torch.randint(CLIP - 6, (1,), generator=generator))
        glance[clip, start : start + 6] += 2
        labels[clip, start : start + 6] = True
    is_weak = torch.arange(number) < num_weak
    there = labels.any(dim=1)[:, 0]
    clips = torch.where(is_weak, there.long(), -1)[:, None].to(torch.int8)
    known = labels & ~is_weak[:, None, None]
    weights = (~is_weak)[:, None, None].expand_as(labels)
    flat = glance.flatten(0, 1).half()
    return Frames(
        flat, flat, known.flatten(0, 1), weights.flatten(0, 1), known.flatten(), torch.full((number,), CLIP),
        (0.0,) * number, clips,
    )  # fmt: skip


def line_of() -> Line:
    torch.manual_seed(0)
    return Line(
        grid=GRID,
        glance=LogMel(GRID),
        gate=EventGate(256, frame_budget=0.2, channels=8),
        featurizer=GlanceFrames(GRID, glance_size=256),
        encoder=Encoder(256, 8),
        head=LevelDecay(8, 1),
    )


def test_a_line_learns_when_events_happen_from_clips_that_only_say_that_they_do(tmp_path: Path) -> None:
    options = TrainOptions(max_epochs=20, batch_size=8, crop_seconds=CLIP * 0.08, learning_rate=0.02, dropout=0.0,
                           straight_through_epochs=0)  # fmt: skip
    line, frames = line_of(), frames_of(96, 0, seed=0)
    history = train_line(line, frames, options, folder=tmp_path, seed=0, device="cpu", progress=Progress(quiet=True))
    assert history[-1]["task"] == 0  # no moment is labelled
    assert history[-1]["clip"] < 0.3 * history[0]["clip"]
    test = frames_of(0, 40, seed=9)
    tracks = tracks_of_frames(line, test, GRID, line.gate)
    scores = torch.cat([scores_at(track.held, GRID, torch.arange(CLIP)) for track in tracks]).sigmoid()[:, 0]
    is_event = test.labels[:, 0]
    assert scores[is_event].mean() > 0.6
    assert scores[~is_event].mean() < 0.1
    is_open = torch.cat([track.is_open for track in tracks])
    assert is_open[is_event].float().mean() > 0.8  # the switch has learned it from the scores
    assert is_open.float().mean() < 0.4


def test_weight_zero_leaves_wholes_out_and_crops_run_open_in_them() -> None:
    frames = frames_of(8, 8, seed=1)
    crop = next(crops(frames, crop_frames=CLIP, batch_size=16, num_batches=1, seed=0))
    options = TrainOptions(dense_share=0.0, random_open=0.0)
    torch.manual_seed(0)
    losses = Lesson(line_of(), frames, options, total_steps=10).forward_crop(crop)
    assert losses["clip"] > 0
    assert crop.clips is not None
    assert losses["frames_open"] >= float((crop.clips >= 0).float().mean())
    assert "clip" not in Lesson(line_of(), frames, TrainOptions(clip_weight=0.0), total_steps=10).forward_crop(crop)


def test_a_clip_longer_than_a_crop_is_refused_if_it_has_a_label() -> None:
    frames = frames_of(2, 2, seed=0)  # the first of the weak ones has the label
    refuse_long_clips(frames, CLIP, 0.08)
    with pytest.raises(UserError, match=r"lasts 3\.2 s, but a crop 3\.12 s.*raise train\.crop_seconds"):
        refuse_long_clips(frames, CLIP - 1, 0.08)
    refuse_long_clips(frames._replace(clips=frames.clips.clamp_max(0)), CLIP - 1, 0.08)  # type: ignore[union-attr]
