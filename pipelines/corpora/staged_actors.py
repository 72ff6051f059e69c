"""Figures of staged video while what they do is written down: who, in which stance, with which track of poses."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora.staged_figures import AT, JOINT, Array, Body, joints
from pipelines.corpora.staged_moves import ACTIONS, Action, perform, seated, standing
from pipelines.corpora.staged_scenes import Camera
from pipelines.corpora.staged_things import Thing

Rng = np.random.Generator

AWAY_RADIANS = 1.9  # who is turned further from the camera than this turns around before acting


class Cast(NamedTuple):
    """A figure by name."""

    name: str
    body: Body


class Span(NamedTuple):
    """Pictures [onset, offset) in which something happens: an action's label, or what distracts; who does it."""

    onset: int
    offset: int
    what: str
    who: str


class Track(NamedTuple):
    """What a figure does: poses (T, P), whether it is there (T,), and the seat of its stool (None: it has none)."""

    cast: Cast
    poses: Array
    present: NDArray[np.bool_]
    seat: Array | None


class Moving(NamedTuple):
    """A thing and its state in every picture (T,)."""

    thing: Thing
    states: Array


class Script(NamedTuple):
    """All that happens in a video."""

    tracks: list[Track]
    things: list[Moving]
    actions: list[Span]
    distractions: list[Span]


class Stance(NamedTuple):
    """How a figure is between two actions.

    Args:
        state: "standing", "seated" or "lying".
        is_turned: its stool is before it, not behind.
        is_away: the camera sees its back.
    """

    state: str
    is_turned: bool
    is_away: bool

    def allows(self, action: Action, *, has_stool: bool) -> bool:
        """Whether the action can begin."""
        begins = action.starts == self.state or (action.seated and self.state == "seated")
        return begins and (action.ends != "seated" or (has_stool and not self.is_turned))

    def after(self, action: Action) -> "Stance":
        """How the figure is when the action has ended; what can be done seated leaves it seated."""
        if action is ACTIONS["turn_around"]:
            return Stance(self.state, not self.is_turned, not self.is_away)
        stays = self.state == "seated" and action.starts != "seated"
        return self if stays else self._replace(state=action.ends)


class Actor:
    """A figure while its track is written."""

    def __init__(
        self, generator: Rng, cast: Cast, camera: Camera, aside: float, nearer: float, num_pictures: int
    ) -> None:
        forward = camera.axes[2] * np.array([1.0, 0.0, 1.0])
        place = camera.axes[0] * aside - forward / np.linalg.norm(forward) * nearer
        self.cast = cast
        away = generator.uniform(-np.pi, np.pi) if generator.random() < 0.1 else generator.uniform(-1.1, 1.1)
        rest = standing(generator, float(place[0]), float(place[2]), camera.yaw + away)
        self.poses = np.repeat(rest[None], num_pictures, axis=0)
        self.present = np.ones(num_pictures, dtype=np.bool_)
        self.seat: Array | None = None
        self.stance = Stance("standing", is_turned=False, is_away=abs(away) > AWAY_RADIANS)

    def place_stool(self, generator: Rng) -> None:
        """Put a stool where this figure would sit down."""
        pose = self.poses[0].copy()
        for name, angle in seated(generator, pose).items():
            pose[AT[name]] = angle
        pelvis = joints(self.cast.body, pose[None])[0, JOINT["pelvis"]]
        self.seat = pelvis - [0.0, 0.08 * self.cast.body.girth, 0.0]

    def sit(self, generator: Rng) -> None:
        """Let it sit from the beginning."""
        for name, angle in seated(generator, self.poses[0]).items():
            self.poses[:, AT[name]] = angle
        self.stance = self.stance._replace(state="seated")

    def turn_away(self) -> None:
        """Let it show its back from the beginning."""
        self.poses[:, AT["yaw"]] += np.pi
        self.stance = Stance(self.stance.state, not self.stance.is_turned, not self.stance.is_away)

    def do(self, generator: Rng, action: Action, onset: int, num_pictures: int, rate_hz: float) -> None:
        """Write an action into its track; it stays in the last pose."""
        rest = self.poses[max(onset - 1, 0)].copy()
        poses = perform(action, generator, self.cast.body, rest, num_pictures, num_pictures / rate_hz)
        if action is ACTIONS["turn_around"]:  # half a turn exactly: two of them lead back before the stool
            change = poses[:, AT["yaw"]] - rest[AT["yaw"]]
            poses[:, AT["yaw"]] = rest[AT["yaw"]] + change * np.pi / abs(change[-1])
        self.poses[onset : onset + num_pictures] = poses
        self.poses[onset + num_pictures :] = poses[-1]
        self.stance = self.stance.after(action)

    def track(self) -> Track:
        """What it does."""
        return Track(self.cast, self.poses, self.present, self.seat)
