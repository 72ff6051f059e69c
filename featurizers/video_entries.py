"""Where decoding of a video may start: what H.264's bits say beyond the container's key-frame flag.

A container's key frame is an IDR picture, or a recovery point: exact at once, or only once its gradual refresh is done.
Source: ITU-T H.264, 7.3.1 (NAL units), 7.3.2.3 and D.1.8 (recovery point message), B.1.1 (byte stream).
"""

from collections.abc import Iterator
from typing import NamedTuple

SLICE, PARTITION, IDR, MESSAGES = 1, 2, 5, 6
RECOVERY_POINT = 6


class Unit(NamedTuple):
    """One NAL unit: its kind, whether others look back at it, and its bytes after the first."""

    kind: int
    is_reference: bool
    body: bytes


class EntryReader:
    """Tells of a packet whether decoding may start there.

    Args:
        codec: FFmpeg's name of it; of others than h264 the container's flag is believed.
        extradata: what the container keeps for the decoder.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._is_h264 = codec == "h264"
        has_lengths = extradata is not None and len(extradata) > 4 and extradata[0] == 1
        self._length_bytes = (extradata[4] & 3) + 1 if extradata is not None and has_lengths else 0

    def references_to_wait(self, data: bytes) -> int | None:
        """For a key frame's bytes: 0 if exact at once, else after how many reference pictures; None: no entry."""
        if not self._is_h264:
            return 0
        for unit in self._units(data):
            if unit.kind == IDR:
                return 0
            if unit.kind == MESSAGES:
                wait = _recovery_count(unit.body)
                if wait is not None:
                    return wait
        return None

    def is_reference(self, data: bytes) -> bool:
        """Whether later pictures may look back at this one."""
        pictures = (unit for unit in self._units(data) if unit.kind in (SLICE, PARTITION, IDR))
        return any(unit.is_reference for unit in pictures)

    def _units(self, data: bytes) -> Iterator[Unit]:
        for first, end in self._bounds(data):
            if end > first:
                head = data[first]
                yield Unit(head & 31, bool(head & 0x60), data[first + 1 : min(end, first + 65_536)])

    def _bounds(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._length_bytes:
            at = 0
            while at + self._length_bytes < len(data):
                first = at + self._length_bytes
                at = first + int.from_bytes(data[at:first], "big")
                yield first, min(at, len(data))
            return
        at = data.find(b"\0\0\1")
        while at >= 0:
            following = data.find(b"\0\0\1", at + 3)
            yield at + 3, len(data) if following < 0 else following
            at = following


def _recovery_count(body: bytes) -> int | None:
    """recovery_frame_cnt of the recovery point among some messages, if there is one and it promises exactness."""
    body = body.replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 < len(body):
        numbers = []
        for _ in range(2):  # kind and size, each in bytes of 255 and a last one below
            number = 0
            while at < len(body) and body[at] == 255:
                number, at = number + 255, at + 1
            if at >= len(body):
                return None
            numbers.append(number + body[at])
            at += 1
        kind, size = numbers
        if kind == RECOVERY_POINT:
            return _exact_count(body[at : at + size])
        at += size
    return None


def _exact_count(message: bytes) -> int | None:
    """An Exp-Golomb number, then one bit: whether the match is exact."""
    bits = "".join(f"{byte:08b}" for byte in message[:8])
    zeros = bits.find("1")
    end = 2 * zeros + 1
    if zeros < 0 or end >= len(bits) or bits[end] == "0":
        return None
    return int(bits[zeros:end], 2) - 1
