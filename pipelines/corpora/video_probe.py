"""Whether a file is a video with pictures, found out from its container without decoding."""

from pathlib import Path
from typing import NamedTuple

import av

COVER_PICTURE = av.stream.Disposition.attached_pic


class Probe(NamedTuple):
    """What a container tells.

    Args:
        reason: why the file cannot be used; "": it can.
        end_seconds: where its pictures end; None: it does not tell.
    """

    reason: str
    end_seconds: float | None = None


def probe(path: Path) -> Probe:
    """Look into a container: is there a video stream that is no cover picture, with at least one packet?"""
    try:
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams.video if not stream.disposition & COVER_PICTURE]
            if not streams:
                return Probe("no video stream")
            stream = streams[0]
            if not any(packet.size for packet in container.demux(stream)):
                return Probe("no pictures")
            if stream.duration is None or stream.time_base is None:
                return Probe("")
            return Probe("", float(((stream.start_time or 0) + stream.duration) * stream.time_base))
    except (av.FFmpegError, OSError) as error:
        return Probe(f"not a video that can be read ({error.strerror or type(error).__name__})")
