"""The compressed pictures of a video in decoding order, demuxed once, nothing decoded.

They wait here, with their times on one clock, until it is decided what is decoded and what is dropped.
"""

from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from featurizers.decode_plan import CodedPictures
from featurizers.video_clock import Clock, Damage
from featurizers.video_entries import EntryReader

MOST_READ_ERRORS = 16  # in a row; then the rest of the file is given up
NUM_PROBED = 20
NOT_YET = np.iinfo(np.int64).max // 2
COUNTS_PICTURES, COUNTS_TIME = "mov,mp4,m4a,3gp,3g2,mj2", "avi"  # containers whose header states what they hold
COUNTS_END = "matroska,webm"  # where it ends, over all streams: a promise where there is one alone
HIDDEN_VP8 = 0x10  # clear in a VP8 packet's first byte: decoded, but never shown (RFC 6386, 9.1)


@dataclass(slots=True, eq=False)
class Coded:
    """One compressed picture.

    Args:
        packet: FFmpeg's packet.
        index: number in decoding order, from the start of the video.
        time: presentation time in seconds.
        size: bytes.
        is_key: as the container says.
        is_shown: false for what is decoded, but never shown.
        is_lost: it was to be decoded, and did not come out.
    """

    packet: Any
    index: int
    time: float
    size: int
    is_key: bool
    is_shown: bool = True
    is_lost: bool = False


@dataclass(slots=True)
class Entry:
    """A key frame that decoding may start at, and the index of the picture from which on everything is exact."""

    index: int
    exact_from: int
    references_to_wait: int


@dataclass(slots=True)
class Shown:
    """Pictures in order of presentation: times (K,), and places in the list of what is held (K,)."""

    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class PacketQueue:
    """Reads packets of one stream, and holds them until they are dropped.

    Args:
        container, stream: PyAV's.
        seconds_per_picture: by the nominal rate.

    Attributes:
        held: in decoding order, without gaps.
        ended: there are no more.
        num_read: packets of the stream so far.
        is_counted: the container does not tell the order of presentation; then the n-th time of a group of pictures is
            that of the n-th picture that the decoder gives out.
        damage: what the container itself has lost.
    """

    def __init__(self, container: Any, stream: Any, seconds_per_picture: float) -> None:
        self.held: list[Coded] = []
        self.ended = False
        self.num_read = 0
        self.is_counted = False
        self.damage: list[Damage] = []
        self.end_seconds = float("-inf")
        self._first_seconds = float("inf")
        self._container, self._stream = container, stream
        self._step = seconds_per_picture
        context = stream.codec_context
        self._clock = Clock(stream.time_base, seconds_per_picture)
        self._numerator, self._denominator = stream.time_base.numerator, stream.time_base.denominator
        self._entry_reader = EntryReader(stream.codec_context.codec.canonical_name, context.extradata)
        self._is_vp8 = context.codec.canonical_name == "vp8"
        self._entries: list[Entry] = []
        self._unsettled: list[Entry] = []
        self._next_index = 0
        self._packets = container.demux(stream)
        self._shown: Shown | None = None
        self._shown_whole: Shown | None = None
        self._coded: CodedPictures | None = None
        self._probe(context)

    @property
    def known_until(self) -> float:
        """Every picture presented before this time is read."""
        return float("inf") if self.ended else self._clock.known_until

    @property
    def first_index(self) -> int:
        """Of what is held."""
        return self.held[0].index if self.held else self._next_index

    def read(self) -> bool:
        """Read one more packet; false at the end."""
        if self.ended:
            return False
        packet = self._next_packet()
        if packet is None:
            self._end()
            return False
        self._add(packet)
        return True

    def at(self, index: int) -> Coded | None:
        """The picture of this number; reads on if need be; None after the end."""
        place = index - self.first_index
        while place >= len(self.held):
            if not self.read():
                return None
        return self.held[place]

    def drop_before(self, index: int) -> None:
        """Forget what comes before this number in decoding order."""
        count = index - self.first_index
        if count > 0:
            del self.held[:count]
            self._entries = [entry for entry in self._entries if entry.index >= index]
            self._shown = self._shown_whole = self._coded = None

    def mark_lost(self, coded: Coded) -> None:
        """Never offer this picture again."""
        coded.is_lost = True
        self._shown = None

    def shown_whole(self) -> Shown:
        """What is held and is to be seen, in order of presentation."""
        if self._shown_whole is None:
            places = np.array([place for place, coded in enumerate(self.held) if coded.is_shown], np.int64)
            times = self.coded().times[places]
            order = np.argsort(times, kind="stable")
            self._shown_whole = Shown(times[order], places[order])
        return self._shown_whole

    def shown(self) -> Shown:
        """The same without what is lost."""
        if self._shown is None:
            whole = self.shown_whole()
            there = np.array([not self.held[place].is_lost for place in whole.places.tolist()], bool)
            self._shown = Shown(whole.times[there], whole.places[there])
        return self._shown

    def coded(self) -> CodedPictures:
        """What is held, as the decode plan reads it."""
        if self._coded is None:
            first = self.first_index
            entries = [(entry.index - first, entry.exact_from - first) for entry in self._entries]
            pairs = np.array(entries, np.int64).reshape(-1, 2)
            times = np.array([coded.time for coded in self.held])
            self._coded = CodedPictures(times, pairs[:, 0], pairs[:, 1], is_from_start=first == 0)
        return self._coded

    def is_entry(self, index: int) -> bool:
        """Whether decoding may start at this picture, and is exact from it on."""
        return any(entry.index == index == entry.exact_from for entry in reversed(self._entries))

    def _probe(self, context: Any) -> None:
        """Read a few packets, and see whether the container tells the order in which they are shown.

        AVI has decoding times only; what FFmpeg makes of them is right for MPEG-4, but not for H.264 and H.265.
        """
        packets: list[Any] = []
        while len(packets) < NUM_PROBED and (packet := self._next_packet()) is not None:
            packets.append(packet)
        num_untold = sum(packet.pts is None for packet in packets)
        is_invented = self._container.format.name == "avi" and context.codec.canonical_name in ("h264", "hevc")
        self.is_counted = bool(context.has_b_frames) and (is_invented or 2 * num_untold > len(packets))
        is_at_end = len(packets) < NUM_PROBED
        for packet in packets:
            self._add(packet)
        if is_at_end:
            self._end()

    def _next_packet(self) -> Any:
        num_errors = 0
        while True:
            try:
                for packet in self._packets:
                    if packet.size:
                        self.num_read += 1
                        return packet
                    self.num_read += packet.dts is not None  # "show the last one again", as AVI has it
                return None
            except IndexError:  # at the end, PyAV looks for the streams that damage made up
                return None
            except av.FFmpegError as error:
                at = max(self._clock.known_until, 0.0)
                self.damage.append(Damage(at, at + self._step, f"reading the file failed ({error.strerror})"))
                num_errors += 1
                if num_errors > MOST_READ_ERRORS:
                    return None
                self._packets = self._container.demux(self._stream)

    def _add(self, packet: Any) -> None:
        time, moved = self._clock.place(None if self.is_counted else packet.pts, packet.dts)
        if moved is not None:
            self.damage.append(moved)
        coded = Coded(packet, self._next_index, time, packet.size, packet.is_keyframe)
        if packet.is_discard or (self._is_vp8 and not bytes(memoryview(packet)[:1])[0] & HIDDEN_VP8):
            coded.is_shown = False
        self._next_index += 1
        self.held.append(coded)
        if coded.is_shown or packet.is_corrupt:
            ticks = packet.duration  # of the stream's time base; a product of fractions, per packet, is slow
            end = time + (ticks * self._numerator / self._denominator if ticks else self._step)
            if coded.is_shown:
                self._first_seconds = min(self._first_seconds, time)
                self.end_seconds = max(self.end_seconds, end)
            if packet.is_corrupt:
                self.damage.append(Damage(time, end, "the container gives it as damaged"))
        if coded.is_key or self._unsettled:
            self._note_entry(coded)
        self._shown = self._shown_whole = self._coded = None

    def _note_entry(self, coded: Coded) -> None:
        data = bytes(coded.packet)
        if self._unsettled and self._entry_reader.is_reference(data):
            for entry in self._unsettled:
                entry.references_to_wait -= 1
                if entry.references_to_wait <= 0:
                    entry.exact_from = coded.index
            self._unsettled = [entry for entry in self._unsettled if entry.references_to_wait > 0]
        if coded.is_key:
            wait = self._entry_reader.references_to_wait(data)
            if wait is not None:
                entry = Entry(coded.index, NOT_YET if wait else coded.index, wait)
                self._entries.append(entry)
                if wait:
                    self._unsettled.append(entry)

    def _end(self) -> None:
        self.ended = True
        stream, kind = self._stream, self._container.format.name
        if not self.held:
            return
        if kind == COUNTS_END and len(self._container.streams) == 1 and self._container.duration:
            end = self._container.duration / 1e6
            if self.end_seconds < end - max(0.5, 0.001 * end):
                what = f"it lasts to {end:.2f} s, the file holds pictures to {self.end_seconds:.2f} s"
                self.damage.append(Damage(self.end_seconds, end, f"cut off: the header promises that {what}"))
            return
        if not stream.duration:
            return
        promised_seconds = float(stream.duration * stream.time_base)
        held_seconds = self.end_seconds - self._first_seconds
        if kind == COUNTS_PICTURES and stream.frames > self.num_read:
            what = f"{stream.frames} pictures, the file holds {self.num_read}"
        elif kind == COUNTS_TIME and held_seconds < promised_seconds - max(0.25, 0.001 * promised_seconds):
            what = f"{promised_seconds:.2f} s, the file holds {held_seconds:.2f} s"
        else:
            return
        end = max(self._first_seconds + promised_seconds, self.end_seconds)
        self.damage.append(Damage(self.end_seconds, end, f"cut off: the header promises {what}"))
