"""A decoder that can be started at any entry, takes compressed pictures in order, and says which ones come out.

One run: from a start to the next start. What comes out carries the number of its packet, so that nothing is guessed
from timestamps.
"""

from collections import deque
from typing import Any, NamedTuple

import av

from featurizers.decode_plan import DecoderRun
from featurizers.video_packets import Coded

MOST_PIXELS = 2**26  # 8192 x 8192; a picture of it takes 100 MB in 4:2:0, and a decoder holds up to 17
PROGRESSIVE = (0, 1)  # AVFieldOrder: unknown, progressive
# Their decoders skip what nothing refers to, judged by the bits of the picture itself.
SKIP_UNREFERENCED = {"h264", "mpeg1video", "mpeg2video", "mpeg4"}


class Decoded(NamedTuple):
    """A picture as it came out: its number in decoding order, its time, FFmpeg's frame."""

    number: int
    time: float
    frame: Any


class PictureDecoder:
    """Compressed pictures in, decoded pictures out in order of presentation.

    Args:
        context: PyAV's codec context, not opened yet.
        num_threads: of the decoder.
        is_counted: the n-th picture that comes out since the start is the n-th one shown, whatever packet it was in.

    Attributes:
        num_decoded: pictures that were decoded, wanted or not.
        run: entry, position and what waits inside; None: a start is needed.
        errors: why packets were refused, by number.
    """

    def __init__(self, context: Any, *, num_threads: int, is_counted: bool) -> None:
        context.thread_count = num_threads
        context.thread_type = "AUTO" if num_threads != 1 else "NONE"
        context.copy_opaque = True
        context.options = {**context.options, "max_pixels": str(MOST_PIXELS)}
        self.num_decoded = 0
        self.errors: dict[int, str] = {}
        self._context = context
        self._is_counted = is_counted
        self._can_drop = context.field_order in PROGRESSIVE and not is_counted  # fields may lie in packets of their own
        self._can_skip = self._can_drop and (
            context.codec.canonical_name in SKIP_UNREFERENCED or _is_flat_hevc(context)
        )
        self._is_skipping = False
        self._is_used = False
        self._entry: int | None = None
        self._position = 0
        self._waiting: dict[int, tuple[int, float]] = {}
        self._skippable: set[int] = set()
        self._slots: deque[tuple[int, float]] = deque()

    @property
    def run(self) -> DecoderRun | None:
        """How far it is."""
        if self._entry is None:
            return None
        return DecoderRun(self._entry, self._position, frozenset(self._waiting))

    def start(self, index: int) -> None:
        """Forget everything; the next picture taken is this one."""
        if self._is_used:
            self._context.flush_buffers()
        self._entry, self._position = index, index
        self._waiting.clear()
        self._skippable.clear()
        self._slots.clear()

    def take(self, coded: Coded, *, droppable: bool) -> list[Decoded]:
        """Decode the next picture; what comes out of it.

        Args:
            droppable: nobody wants this picture; it need not be decoded if no other refers to it.
        """
        assert self._entry is not None
        assert coded.index == self._position
        self._position += 1
        if droppable and self._can_drop and coded.packet.is_disposable:
            return []
        is_skipping = droppable and self._can_skip
        if is_skipping != self._is_skipping:
            self._context.skip_frame = "NONREF" if is_skipping else "DEFAULT"
            self._is_skipping = is_skipping
        stamp = (coded.index, coded.time)
        coded.packet.opaque = stamp
        if coded.is_shown:
            self._slots.append(stamp)
        if is_skipping:
            self._skippable.add(coded.index)
        else:
            self.num_decoded += 1
            if coded.is_shown:
                self._waiting[coded.index] = stamp
        return self._decode(coded.packet, coded.index)

    def drain(self) -> list[Decoded]:
        """All that waits inside; the run is over."""
        out = self._decode(None, -1) if self._entry is not None else []
        self._entry = None
        self._waiting.clear()
        return out

    def _decode(self, packet: Any, index: int) -> list[Decoded]:
        self._is_used = True
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            self.errors[index] = error.strerror or "no reason given"
            self._waiting.pop(index, None)
            return []
        out = []
        for frame in frames:
            stamp = frame.opaque
            if self._is_counted:
                stamp = self._slots.popleft() if self._slots else None
            if stamp is None:
                continue
            if stamp[0] in self._skippable:
                self._skippable.discard(stamp[0])
                self.num_decoded += 1
            self._waiting.pop(stamp[0], None)
            out.append(Decoded(stamp[0], stamp[1], frame))
        return out


def _is_flat_hevc(context: Any) -> bool:
    """H.265 of one temporal layer, where "not referred to in its layer" means not at all (hvcC: ISO/IEC 14496-15)."""
    extradata = context.extradata
    is_record = context.codec.canonical_name == "hevc" and extradata is not None and len(extradata) > 22
    return bool(is_record and extradata[0] == 1 and (extradata[21] >> 3) & 7 == 1)
