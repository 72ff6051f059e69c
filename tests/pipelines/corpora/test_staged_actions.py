"""Staged video as a corpus: files and tables, true onsets, stillness, repeatability, disjoint splits, mistakes."""

import csv
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.corpora import StagedActions
from pipelines.corpora.staged_actors import Cast
from pipelines.corpora.staged_figures import AT, JOINT, JOINTS, NAMES, joints, make_body
from pipelines.corpora.staged_files import NUM_FIGURES, NUM_PLACES, SPLITS, figure, place
from pipelines.corpora.staged_moves import ACTIONS, perform, seated, standing
from pipelines.corpora.staged_scenes import make_camera, make_light
from pipelines.corpora.staged_scripts import KINDS, is_moving, recording_script
from pipelines.errors import UserError
from pipelines.events import Recording

NOTHING: dict[str, Any] = {"train_minutes": {}, "validation_minutes": {}, "test_minutes": {}, "num_clips": {}}


def small(num_workers: int) -> StagedActions:
    return StagedActions(
        train_minutes={"sparse": 0.6, "busy": 0.6},
        validation_minutes={},
        test_minutes={"sparse": 0.6},
        num_clips={"train": 13, "validation": 2, "test": 2},
        num_classless_clips={"train": 1},
        recording_seconds=40.0,
        width=160,
        height=120,
        pictures_per_second=10.0,
        key_seconds=1.5,
        num_workers=num_workers,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return small(2).prepare(tmp_path_factory.mktemp("corpus"), seed=3)


def contents(recordings: list[Recording]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in recordings[0].source.parent.iterdir()}


def table(recordings: list[Recording], name: str) -> list[dict[str, str]]:
    with (recordings[0].source.parent / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def luma(path: Path) -> NDArray[np.float64]:
    """(T, H, W) of a whole video."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray").astype(np.float64) for frame in container.decode(video=0)])


def covered(spans: list[tuple[float, float]], num_pictures: int, rate_hz: float = 10.0) -> NDArray[np.bool_]:
    has = np.zeros(num_pictures, dtype=np.bool_)
    for onset, offset in spans:
        has[round(onset * rate_hz) : round(offset * rate_hz)] = True
    return has


def test_videos_of_every_split_and_kind_are_staged_with_one_label_a_clip(prepared: list[Recording]) -> None:
    kinds = [(r.split, r.kind) for r in prepared]
    assert kinds[:2] == [("train", "sparse"), ("train", "busy")]
    assert kinds.count(("train", "clips")) == 13
    assert kinds.count(("train", "classless")) == 1
    assert kinds.count(("test", "sparse")) == 1
    clips = [r for r in prepared if r.kind == "clips" and r.split == "train"]
    assert sorted(r.clip_labels or () for r in clips) == sorted((label,) for label in ACTIONS)
    for recording in prepared:
        if recording.kind == "clips":
            assert recording.clip_labels == tuple(event.label for event in recording.events)
        elif recording.kind == "classless":
            assert (recording.clip_labels, recording.events) == ((), ())
        else:
            assert recording.clip_labels is None
            assert recording.events
        assert list(recording.events) == sorted(recording.events)


def test_files_are_h264_with_b_frames_and_key_frames_where_they_were_asked_for(prepared: list[Recording]) -> None:
    with av.open(str(prepared[0].source)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 160, 120)
        assert stream.average_rate == 10
        packets = [packet for packet in container.demux(stream) if packet.size]
    times = sorted(float(p.pts * p.time_base) for p in packets if p.pts is not None and p.time_base is not None)
    assert times == pytest.approx([number / 10.0 for number in range(400)], abs=1e-4)
    keys = [float(p.pts * p.time_base) for p in packets if p.is_keyframe and p.pts is not None and p.time_base]
    assert keys == pytest.approx([number * 1.5 for number in range(27)], abs=1e-4)
    assert any(p.pts != p.dts for p in packets)


def test_actions_and_other_movement_are_rare_in_sparse_recordings_and_common_in_busy_ones(
    prepared: list[Recording],
) -> None:
    rows = {row["file"]: row for row in table(prepared, "recordings")}
    for recording in prepared:
        row = rows[recording.source.name]
        share = float(np.mean(covered([event[:2] for event in recording.events], 400)))
        if recording.kind in ("sparse", "busy"):
            assert float(row["action_share"]) == pytest.approx(share, abs=1e-4)
        if recording.kind == "sparse":
            assert 0.03 < share <= 0.08
            assert float(row["distraction_share"]) <= 0.1
            assert float(row["still_share"]) >= 0.8
        if recording.kind == "busy":
            assert 0.1 < share <= 0.2
            assert float(row["still_share"]) < 0.5


def test_pictures_change_where_something_is_said_to_move_and_nowhere_else(prepared: list[Recording]) -> None:
    recording = next(r for r in prepared if r.kind == "sparse" and r.split == "test")
    pictures = luma(recording.source)
    # The mean of 4 x 4 pixels, from which noise and the drift of the light have gone.
    blocks = pictures.reshape(len(pictures), 30, 4, 40, 4).mean(axis=(2, 4))
    change = np.abs(np.diff(blocks, axis=0)).max(axis=(1, 2))
    spans = [event[:2] for event in recording.events]
    others = [(float(r["onset"]), float(r["offset"])) for r in table(prepared, "distractions")
              if r["file"] == recording.source.name]  # fmt: skip
    acts, still = covered(spans, 400)[1:], ~covered(spans + others, 400)[1:]
    is_key = (np.arange(1, 400) % 15) == 0  # the encoder draws everything anew
    assert np.median(change[acts]) > 4 * np.median(change[still & ~is_key])
    assert np.percentile(change[still & ~is_key], 95) < np.median(change[acts])


@pytest.mark.parametrize("label", ACTIONS)
def test_an_action_begins_in_its_first_picture_and_ends_in_its_last(label: str) -> None:
    for number in range(6):
        generator = np.random.default_rng(number)
        body = make_body(generator)
        rest = standing(generator, 0.0, 0.0, 0.3)
        if ACTIONS[label].starts == "seated":
            for name, angle in seated(generator, rest).items():
                rest[AT[name]] = angle
        poses = perform(ACTIONS[label], generator, body, rest, 25, 2.0)
        assert poses.shape == (25, len(NAMES))
        places = joints(body, np.concatenate([rest[None], poses]))
        steps = np.linalg.norm(np.diff(places, axis=0), axis=2).max(axis=1)
        assert steps[0] > 1e-4
        assert steps[-2:].max() > 1e-4
        assert steps.max() < 1.2  # metres in 0.08 s: nothing jumps
        if ACTIONS[label].starts == ACTIONS[label].ends and label != "turn_around":
            assert np.allclose(poses[-1], rest)
        assert places[..., 1].min() > -0.2  # nobody sinks into the floor


def test_bones_keep_their_lengths_and_what_actions_mean_holds() -> None:
    generator = np.random.default_rng(0)
    body = make_body(generator)
    rest = standing(generator, 0.0, 0.0, 0.0)
    height = joints(body, rest[None])[0, JOINT["head"], 1]
    assert len(JOINTS) == joints(body, rest[None]).shape[1]
    for label, action in ACTIONS.items():
        if action.starts != "standing":
            continue
        places = joints(body, perform(action, generator, body, rest, 30, 2.0))
        for a, b, length in (("hip_l", "knee_l", body.thigh), ("shoulder_r", "elbow_r", body.upper_arm)):
            bone = np.linalg.norm(places[:, JOINT[a]] - places[:, JOINT[b]], axis=1)
            assert np.allclose(bone, length)
        head = places[:, JOINT["head"], 1]
        hands = places[:, [JOINT["hand_l"], JOINT["hand_r"]]]
        toes = places[:, [JOINT["toe_l"], JOINT["toe_r"]], 1].min(axis=1)
        if label == "fall":
            assert head[-1] < 0.5 * height
        if label == "jump":
            assert toes.max() > 0.15
        if label == "sit_down":
            assert 0.5 * height < head[-1] < 0.85 * height
        if label == "squat":
            assert head.min() < 0.75 * height
            assert head[-1] == pytest.approx(height, abs=0.02)
        if label == "clap":
            apart = np.linalg.norm(hands[:, 0] - hands[:, 1], axis=1)
            assert apart.min() < 0.12
            assert np.sum((apart[1:-1] < apart[:-2]) & (apart[1:-1] < apart[2:])) >= 2
        if label == "turn_around":
            face = places[-1, JOINT["face"]] - places[-1, JOINT["head"]]
            assert face[2] < 0  # it faced +z


def test_same_seed_gives_the_same_bytes_with_one_process_or_two(prepared: list[Recording], tmp_path: Path) -> None:
    def stop_after_two(what: str, done: int, total: int) -> None:
        assert (what, total) == ("rendering", 21)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(1).prepare(tmp_path, seed=3, progress=stop_after_two)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.mp4")}
    assert len(kept) == 2
    seen: list[int] = []
    again = small(1).prepare(tmp_path, seed=3, progress=lambda _what, done, _total: seen.append(done))
    assert seen == list(range(3, 22))  # continued
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(again) == contents(prepared)
    seen.clear()
    assert small(2).prepare(tmp_path, seed=3, progress=lambda _what, done, _total: seen.append(done)) == again
    assert not seen  # complete, reused


def test_another_seed_gives_other_videos(tmp_path: Path) -> None:
    corpus = StagedActions(["bow"], **NOTHING | {"num_clips": {"test": 1}}, width=64, height=64, num_workers=1)
    videos = [corpus.prepare(tmp_path, seed=seed)[0].source.read_bytes() for seed in (3, 4)]
    assert videos[0] != videos[1]


def test_no_figure_place_or_group_is_in_two_splits(prepared: list[Recording]) -> None:
    used: dict[str, set[str]] = {}
    for row in table(prepared, "recordings"):
        for name in (row["place"], row["group"], *row["figures"].split(", ")):
            used.setdefault(name, set()).add(row["split"])
    assert all(len(splits) == 1 for splits in used.values())
    bodies = [figure(split, number, 7)[:8] for split in SPLITS for number in range(NUM_FIGURES[split])]
    places = [place(split, number, 7).half for split in SPLITS for number in range(NUM_PLACES[split])]
    assert len(set(bodies)) == len(bodies)
    assert len(set(places)) == len(places)


@pytest.mark.slow
def test_length_place_and_colour_of_clips_do_not_tell_the_label(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {**NOTHING, "num_clips": {"train": 70}, "width": 64, "height": 64}
    recordings = StagedActions(["wave", "fall"], **arguments, pictures_per_second=5.0).prepare(tmp_path)
    rows = table(recordings, "recordings")
    first = np.stack([luma(recording.source)[0, ::8, ::8].ravel() for recording in recordings])
    seconds = np.array([float(row["seconds"]) for row in rows])
    is_fall = np.array([row["clip_labels"] == "fall" for row in rows])
    apart = abs(seconds[is_fall].mean() - seconds[~is_fall].mean())
    assert apart < 3.0 * seconds.std() * np.sqrt(4.0 / len(seconds))
    # Nearest other clip by its first picture and length: as often right as a coin.
    facts = np.concatenate([first / first.std(), seconds[:, None] / seconds.std()], axis=1)
    distance = np.linalg.norm(facts[:, None] - facts[None], axis=2) + 1e9 * np.eye(len(facts))
    right = float(np.mean(is_fall[distance.argmin(axis=1)] == is_fall))
    assert abs(right - 0.5) < 0.21  # three and a half standard deviations of 70 coins


def test_events_of_one_figure_never_overlap_and_those_of_two_now_and_then_do() -> None:
    num_overlaps, num_actions = 0, dict.fromkeys(ACTIONS, 0)
    for number in range(30):
        generator = np.random.default_rng(number)
        cast = [Cast(f"figure {one}", make_body(generator)) for one in range(4)]
        camera = make_camera(generator, 320, 240, share=(0.4, 0.5), target=np.zeros(3))
        kind, light = KINDS["busy" if number % 2 else "sparse"], make_light(generator)
        script = recording_script(generator, kind, list(ACTIONS), cast, camera, light, 1500, 12.5)
        for span in script.actions:
            num_actions[span.what] += 1
        for one, other in itertools.combinations(script.actions, 2):
            overlap = one.onset < other.offset and other.onset < one.offset
            assert not (overlap and one.who == other.who)
            num_overlaps += overlap
        has_action = np.zeros(1500, dtype=np.bool_)
        for span in script.actions:
            has_action[span.onset : span.offset] = True
        assert np.mean(is_moving(script, 1500)[has_action]) > 0.95
    assert num_overlaps > 5
    assert min(num_actions.values()) > 0.3 * max(num_actions.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["wave", "wvae"]}, "the label 'wvae' is no action that can be rendered; did you mean wave"),
        ({"labels": []}, r"labels=\[\] must name at least one action"),
        ({"labels": ["bow", "bow"]}, "none twice"),
        ({"train_minutes": {"calm": 1.0}}, "train_minutes names the kind 'calm'; the kinds are sparse, busy"),
        ({"test_minutes": {"busy": -1.0}}, "test_minutes has -1.0 minutes of 'busy'"),
        ({"num_clips": {"dev": 1}}, "num_clips names 'dev'; a split is one of train, validation, test"),
        ({"num_classless_clips": {"test": -1}}, "num_classless_clips has -1 for 'test'"),
        ({"recording_seconds": 5.0}, "recording_seconds=5.0 must be from 30 to 7200"),
        ({"width": 321}, "width=321 must be an even number of pixels from 64 to 4096"),
        ({"height": 10}, "height=10 must be"),
        ({"pictures_per_second": 1.0}, "pictures_per_second=1.0 must be from 5 to 60"),
        ({"key_seconds": 0.01}, "key_seconds=0.01 must be from 0.08 to 60"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"num_workers": 0}, "num_workers=0 must be at least 1"),
    ],
)
def test_mistake_in_an_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        StagedActions(**arguments)


def test_card_tells_where_the_pictures_come_from() -> None:
    card = StagedActions(["bow", "kick"]).card()
    assert "bow, kick" in card
    assert "Trained without recordings" in card
