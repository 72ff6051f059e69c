"""When a recording began, from what its container and its name tell; nothing is guessed.

Sources in the order in which they win, each for its reason:

1. tag `comment` as AudioMoth recorders write it: the start, and the only place where they tell their UTC offset
2. tag `com.apple.quicktime.creationdate`: telephones write the start into it, with UTC offset
3. tag `DATE_RECORDED`: by Matroska's definition when the recording began
4. the file's name: recorders and cameras name a file when it begins
5. BWF origination date and time (FFmpeg: tags `date` and `creation_time`): the start in the recorder, the time of the
   export after most editing programs
6. tag `date`, if it has a time of day
7. tag `creation_time`: in UTC, but many cameras write it when a file ends, and converters write the time of conversion

In names, a date of 8 digits and a time of 6 must stand apart: 14 digits in a row, 2-digit years, times without seconds
and numbers that are no date are passed over; so are names with two different times.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePath

# 2019-08-15T05:30:00.5+02:00, 2019:08:15 05-30-00, 20190815T053000Z: a tag is all date, so separators may vary.
TAG = re.compile(
    r"\s*(\d{4})([-:/. _]?)(\d\d)\2(\d\d)[T _]\s*(\d\d)([-:. _]?)(\d\d)\6(\d\d)(?:[.,](\d{1,6})\d*)?"
    r"\s*(Z|UTC|[+-]\d\d:?\d\d)?\s*"
)
DATE = re.compile(r"\s*(\d{4})[-:/. _](\d\d)[-:/. _](\d\d)\s*")
TIME = re.compile(r"\s*(\d\d)[-:/. _](\d\d)[-:/. _](\d\d)\s*")
# In a name other numbers may stand beside. "$" is a Song Meter's "_" while its clock follows GPS, "GMT" the prefix of
# a Zoom meeting; an offset counts after "T" only, because elsewhere "-0100" is as likely a part's number.
AFTER = (
    r"(?:[.,](?P<fraction>\d{1,6})\d*(?=Z|[+-]\d))?(?:(?P<utc>Z)(?![A-Za-z])|(?(t)(?P<offset>[+-]\d\d:?\d\d)))?(?!\d)"
)
NAMES = (
    re.compile(r"(?<!\d)(?P<gmt>GMT)?(\d{4})(\d\d)(\d\d)(?:(?P<t>T)|[_$ -])(\d\d)(\d\d)(\d\d)" + AFTER),
    re.compile(
        r"(?<!\d)(?P<gmt>GMT)?(\d{4})[-_.](\d\d)[-_.](\d\d)(?:(?P<t>T)|[_ -])(\d\d)[-:._](\d\d)[-:._](\d\d)" + AFTER
    ),
)
AUDIOMOTH = re.compile(
    r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? (\d\d)/(\d\d)/(\d{4}) \(UTC(?:([+-])(\d{1,2})(?::(\d\d))?)?\)"
)
# Where clocks begin that were never set: Mac and QuickTime, Unix, FAT file systems.
NEVER_SET = {(1904, 1, 1), (1970, 1, 1), (1980, 1, 1)}


def recording_start(path: str, metadata: Mapping[str, str]) -> str:
    """ISO 8601, such as "2019-08-15T05:30:00+02:00"; without UTC offset where the source has none; "" if nothing tells.

    Args:
        path: of the file; only its last part is read.
        metadata: tags of the container and of its audio stream (Ogg keeps them there), as FFmpeg names them.
    """
    tags = {key.lower(): value for key, value in metadata.items()}  # Matroska and Vorbis comments know no case
    for start in _answers(PurePath(path).name, tags):
        if start is not None and (start.year, start.month, start.day) not in NEVER_SET:
            return start.isoformat()
    return ""


def _answers(name: str, tags: Mapping[str, str]) -> Iterator[datetime | None]:
    """What each source says, the most trusted first."""
    yield _of_audiomoth(tags.get("comment", ""))
    yield _of_tag(tags.get("com.apple.quicktime.creationdate", ""))
    yield _of_tag(tags.get("date_recorded", ""))
    yield _of_name(name)
    yield _of_broadcast_wave(tags)
    yield _of_tag(tags.get("date", ""))
    yield _of_tag(tags.get("creation_time", ""))


def _of_audiomoth(comment: str) -> datetime | None:
    found = AUDIOMOTH.search(comment)
    if found is None:
        return None
    hour, minute, second, fraction, day, month, year, sign, offset_hours, offset_minutes = found.groups()
    offset = f"{sign}{int(offset_hours):02d}{offset_minutes or '00'}" if sign else "Z"
    return _moment((year, month, day, hour, minute, second), fraction, offset)


def _of_tag(text: str) -> datetime | None:
    found = TAG.fullmatch(text)
    return None if found is None else _moment(found.group(1, 3, 4, 5, 7, 8), found[9], found[10])


def _of_name(name: str) -> datetime | None:
    found = [
        _moment(m.group(2, 3, 4, 6, 7, 8), m["fraction"], "Z" if m["gmt"] or m["utc"] else m["offset"])
        for pattern in NAMES
        for m in pattern.finditer(name)
    ]
    moments = [moment for moment in found if moment is not None]
    return moments[0] if moments and all(moment == moments[0] for moment in moments) else None


def _of_broadcast_wave(tags: Mapping[str, str]) -> datetime | None:
    """EBU Tech 3285; FFmpeg's WAV reader calls OriginationDate `date` and OriginationTime `creation_time`."""
    date = DATE.fullmatch(tags.get("origination_date", tags.get("date", "")))
    time = TIME.fullmatch(tags.get("origination_time", tags.get("creation_time", "")))
    return None if date is None or time is None else _moment((*date.groups(), *time.groups()), None, None)


def _moment(numbers: tuple[str, ...], fraction: str | None, offset: str | None) -> datetime | None:
    """The moment, or None if the numbers are no date; an offset that no place on Earth has counts as none."""
    zone = None
    if offset in ("Z", "UTC"):
        zone = UTC
    elif offset:
        minutes = int(offset[1:3]) * 60 + int(offset[-2:])
        if minutes <= 14 * 60 and minutes % 15 == 0:
            zone = timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes))
    try:
        year, month, day, hour, minute, second = map(int, numbers)
        return datetime(year, month, day, hour, minute, second, int((fraction or "0").ljust(6, "0")), zone)
    except ValueError:
        return None
