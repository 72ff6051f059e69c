"""Video of any container and codec: packets first, then pictures at the times you ask for, and nothing else decoded.

    file --> packets (time, bytes, key frame) --> you decide --> pictures(times): the groups of pictures that these need
             demuxed once, held compressed                       decoded bit for bit as in a full decode, scaled once

Times are seconds on the container's clock: presentation timestamp times time base. Interlaced pictures stay woven.
"""

import os
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import torch
from av.stream import Discard, Disposition
from numpy.typing import NDArray
from torch import Tensor

from featurizers.decode_plan import NO_ENTRY, DecoderRun, Span, nearest, plan_spans, wanted_entries
from featurizers.grid import PictureFormat
from featurizers.media import MediaError, open_container
from featurizers.video_clock import MOST_REORDERED, Damage
from featurizers.video_decoder import MOST_PIXELS, Decoded, PictureDecoder
from featurizers.video_packets import Coded, PacketQueue
from featurizers.video_scaling import PictureScaler, Turn, check_picture, turn_of
from featurizers.video_types import Packets, Pictures

MOST_HELD_BYTES = 64 * 2**20  # of packets before the first picture that may still be asked for
MOST_HELD_PACKETS = 10_000
MOST_CACHED_BYTES = 64 * 2**20  # of scaled pictures, for calls that begin before the last one ended
USUAL_RATE_HZ = 25.0
NUM_LOOKED_AT = 3
NUM_READ_AT_ONCE = 500  # while what is read is forgotten already
NOT_VIDEO = {"tty"}  # FFmpeg draws any .txt file as a film of a terminal


class VideoStream:
    """One video, read once from start to end. A context manager; leaving it closes the file.

    Args:
        container: PyAV's, open.
        stream: its video stream.
        name: what messages call it.
        num_threads: of the decoder.
        most_held_bytes: how much of a long group of pictures is held when its beginning is forgotten; beyond, it is
            decoded up to there, and the decoder holds its state.

    Attributes:
        codec: FFmpeg's name.
        start_seconds: time of the first picture.
        declared_seconds: duration that the container claims; None if it does not say.
        width, height: of the first picture as it is shown: turned, and with the shape of its pixels.
        rotation: degrees clockwise by which it is turned to be shown.
    """

    def __init__(
        self, container: Any, stream: Any, name: str, *, num_threads: int = 1, most_held_bytes: int = MOST_HELD_BYTES
    ) -> None:
        context = stream.codec_context
        self.name = name
        self.codec: str = context.codec.canonical_name
        rate = stream.average_rate or stream.guessed_rate
        self._step = float(1 / rate) if rate else 1 / USUAL_RATE_HZ
        self._container: Any = container
        self._queue = PacketQueue(container, stream, self._step)
        if not self._queue.held:
            raise MediaError(f"{name} has a video stream without a single picture")
        self._decoder = PictureDecoder(context, num_threads=num_threads, is_counted=self._queue.is_counted)
        self._scaler = PictureScaler()
        self._most_held_bytes = most_held_bytes
        self._forgotten = float("-inf")
        self._is_behind = False  # what is read next is forgotten already
        self._cached_format: PictureFormat | None = None
        self._cache: dict[int, tuple[float, NDArray[np.uint8]]] = {}  # time and pixels by number
        self._ahead: dict[int, Decoded] = {}  # came out of the decoder after all that was wanted
        self._latest: Decoded | None = None  # stands in when nothing that is held can be decoded
        self._found: list[Damage] = []
        self._exact_seconds = float("-inf")  # what is shown earlier is not exact in this run, and never taken
        self._is_tainted = False
        self.declared_seconds = _declared_seconds(container, stream)
        self.width, self.height, self._turn = self._look_at_first_picture(context)
        self.rotation = self._turn.degrees_clockwise
        while self._queue.known_until <= self._first_shown() and self._queue.read():
            pass
        self.start_seconds = self._first_shown()

    @property
    def ended(self) -> bool:
        """Whether all packets are read."""
        return self._queue.ended

    @property
    def end_seconds(self) -> float:
        """Where the last picture's duration ends.

        Raises:
            ValueError: while the video is not read to its end.
        """
        if not self.ended:
            raise ValueError(f"{self.name} is not read to its end yet; read_until(math.inf) does so")
        return self._queue.end_seconds

    @property
    def damage(self) -> list[Damage]:
        """What could not be read or decoded so far, by time.

        What nobody asked for may be broken and untold; so may a picture that is wrong in a way its codec has no check
        against (a few bytes of H.264 can be wrong and decode to something).
        """
        return sorted([*self._queue.damage, *self._found])

    @property
    def packets_read(self) -> int:
        """Packets of the video read from the container so far."""
        return self._queue.num_read

    @property
    def pictures_decoded(self) -> int:
        """Pictures decoded so far, wanted or not; the first one, looked at when the file is opened, is not counted."""
        return self._decoder.num_decoded

    def read_until(self, seconds: float) -> None:
        """Read packets until all that are presented before `seconds` are known, or to the end. Decodes nothing."""
        num_read = 0
        while self._queue.known_until < seconds and self._queue.read():
            num_read += 1
            if self._is_behind and num_read % NUM_READ_AT_ONCE == 0:
                self._drop()
        if self._is_behind and num_read:
            self._drop()

    def packets(self, onset_seconds: float, offset_seconds: float) -> Packets:
        """Packets presented in [onset, offset): of those read and not forgotten, in order of presentation."""
        shown = self._queue.shown_whole()
        first, last = np.searchsorted(shown.times, [onset_seconds, offset_seconds])
        chosen = [self._queue.held[place] for place in shown.places[first:last].tolist()]
        return Packets(
            torch.from_numpy(shown.times[first:last].copy()),
            torch.tensor([coded.size for coded in chosen], dtype=torch.int64),
            torch.tensor([coded.is_key for coded in chosen], dtype=torch.bool),
        )

    def pictures(self, times: Tensor, picture: PictureFormat) -> Pictures:
        """The picture nearest to each time (of two equally near the earlier), scaled; decodes only what these need.

        Calls ascend: one may begin before the last one ended, at the times asked for then; what else was passed over is
        decoded again from its key frame. A picture that cannot be decoded is named in `damage`, and the nearest one
        that can be stands in.

        Args:
            times: (N,) float64 seconds, ascending.
            picture: size and colour.

        Raises:
            ValueError: if times do not ascend, or reach back to what was forgotten.
            MediaError: if not one picture of the video can be decoded.
        """
        check_picture(picture)
        wanted = self._checked(times)
        if picture != self._cached_format:
            self._cached_format = picture
            self._cache.clear()
        while True:
            indices = self._nearest_indices(wanted)
            missing = {index for index in indices if index not in self._cache}
            if not missing:
                break
            self._decode(missing)
        taken = np.array([self._cache[index][0] for index in indices], np.float64)
        channels = 1 if picture.colour == "gray" else 3
        data = np.empty((len(indices), picture.height, picture.width, channels), np.uint8)
        for row, index in enumerate(indices):
            data[row] = self._cache[index][1]
        self._trim_cache(picture.height * picture.width * channels)
        shaped = torch.from_numpy(data).permute(0, 3, 1, 2).contiguous()
        return Pictures(shaped, torch.from_numpy(taken))

    def forget(self, before_seconds: float) -> None:
        """Nothing before this time will be asked for again: drop its packets, down to what later pictures need."""
        self._forgotten = max(self._forgotten, before_seconds)
        self._drop()

    def close(self) -> None:
        """Close the file. Harmless when closed already."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, times: Tensor) -> NDArray[np.float64]:
        wanted = times.detach().cpu().to(torch.float64).numpy()
        if wanted.ndim != 1 or not np.isfinite(wanted).all() or (np.diff(wanted) < 0).any():
            raise ValueError(f"times of the shape {wanted.shape} must be (N,), finite and ascending")
        if len(wanted) and wanted[0] < self._forgotten:
            raise ValueError(
                f"{self.name}: a picture at {wanted[0]:.3f} s was asked for, but all before {self._forgotten:.3f} s "
                "was forgotten; forget later"
            )
        return wanted

    def _first_shown(self) -> float:
        times = self._queue.shown_whole().times
        return float(times[0]) if len(times) else self._queue.held[0].time

    def _nearest_indices(self, wanted: NDArray[np.float64]) -> list[int]:
        if not len(wanted):
            return []
        while True:
            shown = self._queue.shown()
            is_known = len(shown.times) and shown.times[-1] >= wanted[-1] and self._queue.known_until >= wanted[-1]
            if is_known or not self._queue.read():
                break
            self.read_until(wanted[-1])
        if not len(shown.times):
            if self._latest is None:
                reasons = "; ".join(sorted({damage.reason for damage in self.damage}))
                raise MediaError(f"{self.name}: not one picture can be decoded ({reasons})")
            return [self._latest.number] * len(wanted)
        places = shown.places[nearest(shown.times, wanted)]
        return [int(index) for index in places + self._queue.first_index]

    def _decode(self, missing: set[int]) -> None:
        ready = [*self._ahead.values(), *([] if self._latest is None else [self._latest])]
        for decoded in ready:
            if decoded.number in missing:
                self._store(decoded)
        missing = missing - self._cache.keys()
        if not missing:
            return
        first = self._queue.first_index
        plan = plan_spans(self._queue.coded(), np.array(sorted(missing)) - first, self._run())
        if plan.unreachable and self._found:  # they were to stand in for what is broken; the next one has to
            self._lose([self._queue.held[place] for place in plan.unreachable], "what leads to it is broken or dropped")
            return
        if plan.unreachable:
            at = self._queue.held[plan.unreachable[0]].time
            raise ValueError(
                f"{self.name}: the picture at {at:.3f} s was passed over, and the packets that lead to it are "
                "forgotten; ask in ascending order, or forget later"
            )
        for span in plan.spans:
            self._decode_span(span, first)

    def _run(self) -> DecoderRun | None:
        """The decoder's run, counted from the first packet held."""
        run, first = self._decoder.run, self._queue.first_index
        if run is None:
            return None
        return DecoderRun(run.entry - first, run.position - first, frozenset(i - first for i in run.waiting))

    def _decode_span(self, span: Span, first: int) -> None:
        held = self._queue.held
        pending = {first + place: held[place] for place in sorted(span.wanted, key=lambda place: held[place].time)}
        until = max(coded.time for coded in pending.values())
        if span.restart:
            self._start(first + span.first)
        position, last = first + span.first, first + span.last
        recent: deque[float] = deque(maxlen=MOST_REORDERED + 1)
        while pending:
            coded = self._queue.at(position)
            if coded is None or (position > last and self._queue.is_entry(position) and self._can_start_again()):
                self._receive(self._decoder.drain(), pending, until, recent)
                self._lose(list(pending.values()), "the decoder gives nothing for it")
                return
            is_droppable = position not in pending and coded.time < until
            self._receive(self._decoder.take(coded, droppable=is_droppable), pending, until, recent)
            self._note_refused(coded, pending)
            position += 1

    def _can_start_again(self) -> bool:
        run = self._run()
        return run is not None and run.entry >= 0

    def _start(self, index: int) -> None:
        coded, first = self._queue.coded(), self._queue.first_index
        number = int(np.searchsorted(coded.entries, index - first))
        is_entry = number < len(coded.entries) and coded.entries[number] == index - first
        exact = int(coded.exact_from[number]) if is_entry else 0
        self._exact_seconds = float(coded.times[exact]) if is_entry and exact < len(coded.times) else float("-inf")
        self._is_tainted = False
        self._ahead.clear()
        self._decoder.start(index)

    def _receive(self, out: list[Decoded], pending: dict[int, Coded], until: float, recent: deque[float]) -> None:
        """Store what was waited for; what 17 later pictures have overtaken will not come."""
        for decoded in out:
            self._note_errors(decoded)
            if decoded.time >= self._exact_seconds:
                self._latest = decoded
            if pending.pop(decoded.number, None) is not None:
                self._store(decoded)
            elif decoded.time > until and decoded.time >= self._exact_seconds:
                self._ahead[decoded.number] = decoded
            recent.append(decoded.time)
            if len(recent) > MOST_REORDERED and pending and next(iter(pending.values())).time < min(recent):
                overdue = [coded for coded in pending.values() if coded.time < min(recent)]
                for coded in overdue:
                    del pending[coded.index]
                self._lose(overdue, "the decoder gives nothing for it")

    def _store(self, decoded: Decoded) -> None:
        assert self._cached_format is not None
        try:
            pixels = self._scaler.scale(decoded.frame, self._cached_format, self._turn)
        except av.FFmpegError as error:
            place = decoded.number - self._queue.first_index
            self._latest = None if decoded is self._latest else self._latest
            self._lose(self._queue.held[place : place + 1] if place >= 0 else [], f"not scaled ({error.strerror})")
        else:
            self._cache[decoded.number] = decoded.time, pixels

    def _lose(self, pictures: list[Coded], reason: str) -> None:
        for coded in pictures:
            self._note(coded.time, reason)
            self._queue.mark_lost(coded)
            self._is_tainted = True

    def _note_refused(self, coded: Coded, pending: dict[int, Coded]) -> None:
        """What the decoder refused is lost; what it refused of pictures that are not exact anyway says nothing."""
        reason = self._decoder.errors.pop(coded.index, None)
        if reason is not None and coded.time >= self._exact_seconds:
            pending.pop(coded.index, None)
            self._lose([coded], f"it cannot be decoded ({reason})")

    def _note_errors(self, decoded: Decoded) -> None:
        """Errors carry on from picture to picture until the next key frame."""
        if decoded.time < self._exact_seconds:
            return
        if decoded.frame.is_corrupt:
            self._is_tainted = True
        elif decoded.frame.key_frame:
            self._is_tainted = False
        if self._is_tainted:
            self._note(decoded.time, "decoded with errors, its own or those of pictures before it")

    def _note(self, time: float, reason: str) -> None:
        shown = self._queue.shown_whole().times
        following = int(np.searchsorted(shown, time, side="right"))
        end = float(shown[following]) if following < len(shown) else time + self._step
        for number, damage in enumerate(self._found):
            if damage.reason == reason and damage.onset_seconds <= end and time <= damage.offset_seconds:
                whole = min(time, damage.onset_seconds), max(end, damage.offset_seconds)
                self._found[number] = Damage(*whole, reason)
                return
        self._found.append(Damage(time, end, reason))

    def _trim_cache(self, bytes_each: int) -> None:
        surplus = len(self._cache) - MOST_CACHED_BYTES // bytes_each
        for index in list(self._cache)[: max(surplus, 0)]:
            del self._cache[index]

    def _drop(self) -> None:
        queue = self._queue
        self._is_behind = queue.known_until < self._forgotten
        shown = queue.shown()
        kept = shown.places[max(int(np.searchsorted(shown.times, self._forgotten, side="right")) - 1, 0) :]
        if not len(kept):
            return
        coded = queue.coded()
        entries = wanted_entries(coded, kept)
        needed = [*np.unique(entries).tolist(), self._entry_of_what_follows()]
        earliest = int(kept.min())
        is_gone = NO_ENTRY in needed  # the decoder alone leads on
        keep_from = min(*needed, earliest)
        before = queue.held[max(keep_from, 0) : earliest]
        is_long = len(before) > MOST_HELD_PACKETS or sum(item.size for item in before) > self._most_held_bytes
        if is_long or is_gone:
            self._decode_up_to(None if is_gone else queue.first_index + keep_from, queue.first_index + earliest)
            keep_from = earliest
        queue.drop_before(queue.first_index + keep_from)
        self._cache = {index: item for index, item in self._cache.items() if index >= queue.first_index}
        self._ahead = {index: out for index, out in self._ahead.items() if index >= queue.first_index}

    def _entry_of_what_follows(self) -> int:
        """Place of the entry that pictures not read yet may need."""
        coded = self._queue.coded()
        if self.ended:
            return len(coded.times)
        exact = coded.exact_from < len(coded.times)
        entries = coded.entries[exact]
        known = entries[coded.times[coded.exact_from[exact]] <= self._queue.known_until]
        if len(known):
            return int(known[-1])
        return 0 if coded.is_from_start else NO_ENTRY

    def _decode_up_to(self, start: int | None, end: int) -> None:
        """Leave the decoder just before this picture, so that those before it can be dropped.

        Args:
            start: the entry to start at where the decoder's run does not serve; None: it is forgotten, go on.
        """
        run = self._decoder.run
        if start is not None and (run is None or run.position < start or run.entry > start):
            self._start(start)
            run = self._decoder.run
        if run is None:  # all that was left is decoded, the end of the video is reached
            return
        for index in range(run.position, end):
            coded = self._queue.held[index - self._queue.first_index]
            for decoded in self._decoder.take(coded, droppable=True):
                self._note_errors(decoded)
                self._latest = decoded
            self._note_refused(coded, {})

    def _look_at_first_picture(self, context: Any) -> tuple[int, int, Turn]:
        """Size and turn. It also shows the decoder the encoder's name, which it works around the faults of."""
        out: list[Decoded] = []
        for coded in self._queue.held[:NUM_LOOKED_AT]:
            self._decoder.start(coded.index)
            out = [*self._decoder.take(coded, droppable=False), *self._decoder.drain()]
            if out:
                break
        self._latest = out[0] if out else None
        frame = None if self._latest is None else self._latest.frame
        self._decoder.errors.clear()
        self._decoder.num_decoded = 0
        turn = Turn() if frame is None else turn_of(frame)
        width, height = (context.width, context.height) if frame is None else (frame.width, frame.height)
        if not width or not height:
            raise MediaError(f"{self.name} has a damaged video stream: the size of its pictures is unknown")
        if context.sample_aspect_ratio:
            width = max(round(width * context.sample_aspect_ratio), 1)
        return (height, width, turn) if turn.is_transposed else (width, height, turn)


def open_video(
    source: str | os.PathLike[str], *, num_threads: int = 1, most_held_bytes: int = MOST_HELD_BYTES
) -> VideoStream:
    """The video of a media file, as packets and pictures; pictures attached to it (covers) are no video.

    Args:
        source: a local file of any container and codec that FFmpeg reads.
        num_threads: of the decoder; 0: as many as there are cores.
        most_held_bytes: see VideoStream.

    Raises:
        MediaError: if the file is missing, a folder, empty, not media, without video or pictures, or if its pictures
            are larger than 2**26 pixels.
    """
    name = os.fspath(source)
    if num_threads < 0:
        raise ValueError(f"num_threads={num_threads} must be at least 0 (0: as many as there are cores)")
    container = open_container(Path(source))
    try:
        stream = _video_of(container, name)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MOST_PIXELS:
            raise MediaError(f"{name} has pictures of {width} x {height} pixels; at most {MOST_PIXELS} are read")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        return VideoStream(container, stream, name, num_threads=num_threads, most_held_bytes=most_held_bytes)
    except BaseException:
        container.close()
        raise


def _video_of(container: Any, name: str) -> Any:
    if container.format.name in NOT_VIDEO:
        raise MediaError(f"{name} is a text file, not a video")
    streams = container.streams.video
    moving = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if not moving:
        if streams:
            raise MediaError(f"{name} has no video, only a cover picture")
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing that FFmpeg knows"]
        raise MediaError(f"{name} has no video stream; it holds {', '.join(kinds)}")
    best = container.streams.best("video")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise MediaError(f"{name} has a video stream in a codec that FFmpeg does not know")
    return stream


def _declared_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None
