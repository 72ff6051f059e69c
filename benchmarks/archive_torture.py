"""Does an archive job survive 50 kills, a really full disk and 500 damaged files? python -m benchmarks.archive_torture

Kills: `--kills` kill -9, every other one of a job, the others of a worker, at random moments of jobs over recordings;
in the end the tables of each must equal those of a job that nobody disturbed, byte for byte.
Disk: the same on a small file system, which is freed in the middle (needs root on Linux; else it is left out).
Fuzz: `--damaged` media files with bytes flipped, cut out or spliced in; each must end done, or failed with a reason.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from featurizers import write_audio

RATE_HZ = 16_000
LEAST_FREE_BYTES = 400_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run all three; 0 if everything survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--damaged", type=int, default=500)
    parser.add_argument("--files", type=int, default=2000, help="recordings of the job that is killed")
    parser.add_argument("--media", nargs="*", default=[], help="media files to damage; default: some are made")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_media(work / "media", options.files)
        whole = tables_of(work / "whole") if run(options.model, work / "media", work / "whole") == 0 else None
        results = {
            "kills": kills(options, work, whole),
            "full_disk": full_disk(options, work, whole),
            "fuzz": fuzz(options, work),
        }
    print(json.dumps(results, indent=1))
    return int(not all(result.get("survived", True) for result in results.values()))


def write_media(folder: Path, number: int) -> None:
    """Recordings of 2 to 20 s of noise with bursts, in folders of a hundred; many are links to few."""
    drawn = np.random.default_rng(1)
    folder.mkdir()
    for each in range(number):
        path = folder / f"{each // 100:03d}" / f"{each:05d}.flac"
        path.parent.mkdir(exist_ok=True)
        if each < 50:
            time_seconds = np.arange(int(drawn.uniform(2, 20) * RATE_HZ)) / RATE_HZ
            loud = np.where(time_seconds % 1 > 0.6, 0.2, 0.002)
            write_audio(path, np.clip(drawn.standard_normal(len(loud)) * loud, -1, 1), RATE_HZ)
        else:
            path.hardlink_to(folder / "000" / f"{each % 50:05d}.flac")


def command(model: str, media: Path, output: Path) -> list[str]:
    words = [sys.executable, "-m", "pipelines.tag", model, media, "--output", output, "--workers", 2, "--quiet"]
    return [*map(str, words), "--export", "csv", "--time-limit", "60"]


def run(model: str, media: Path, output: Path) -> int:
    """The job, undisturbed; its exit code."""
    return subprocess.run(command(model, media, output), stderr=subprocess.DEVNULL).returncode


def tables_of(output: Path) -> tuple[Any, bytes, bytes]:
    """What must be the same: files but for the seconds of work, events, export."""
    files = pq.read_table(output / "files.parquet").drop_columns(["work_seconds"])  # type: ignore[no-untyped-call]
    return files, (output / "events.parquet").read_bytes(), (output / "events.csv").read_bytes()


def kills(options: argparse.Namespace, work: Path, whole: Any) -> dict[str, Any]:
    """Kill a job or one of its workers again and again; a job that ends before the last kill is followed by another."""
    moments, killed, num_equal = random.Random(2), Counter[str](), 0
    num_jobs = 0
    while killed.total() < options.kills:
        num_jobs += 1
        output = work / f"killed{num_jobs}"
        while killed.total() < options.kills and not is_survivor(options, work, output, moments, killed):
            pass
        num_equal += run(options.model, work / "media", output) == 0 and tables_of(output) == whole
    return {"killed": dict(killed), "jobs": num_jobs, "equal": num_equal, "survived": num_equal == num_jobs}


def is_survivor(
    options: argparse.Namespace, work: Path, output: Path, moments: random.Random, killed: Counter[str]
) -> bool:
    """One call, and kills at random moments of it; whether it came to its end all the same."""
    with subprocess.Popen(command(options.model, work / "media", output), stderr=subprocess.DEVNULL) as process:
        while killed.total() < options.kills and process.poll() is None:
            time.sleep(moments.uniform(0.5, 6.0))
            is_job = killed.total() % 2 == 0
            victims = [process.pid] if is_job else list(workers_of(process.pid))
            if process.poll() is None and victims:
                os.kill(moments.choice(victims), signal.SIGKILL)
                killed["job" if is_job else "worker"] += 1
    return process.returncode == 0


def workers_of(pid: int) -> Iterator[int]:
    """Worker processes of a job."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield int(child)


def full_disk(options: argparse.Namespace, work: Path, whole: Any) -> dict[str, Any]:
    """Fill the file system that the job writes to, free it, and go on."""
    disk = work / "disk"
    disk.mkdir()
    size = 3 * sum(path.stat().st_size for path in (work / "whole").iterdir()) + LEAST_FREE_BYTES
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        return {"left out": "no file system can be mounted here"}
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(size - LEAST_FREE_BYTES))
        full = run(options.model, work / "media", disk / "out")
        ballast.unlink()
        freed = run(options.model, work / "media", disk / "out")
        survived = full == 1 and freed == 0 and tables_of(disk / "out") == whole
        return {"exit_code_full": full, "exit_code_freed": freed, "survived": survived}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fuzz(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Damage files in three ways and tag them."""
    drawn, damaged = random.Random(3), work / "damaged"
    damaged.mkdir()
    named = [path for path in map(Path, options.media) if path.stat().st_size > 1]
    sources = named or sorted((work / "media" / "000").iterdir())[:20]
    for number in range(options.damaged):
        source = drawn.choice(sources)
        content = bytearray(source.read_bytes())
        place = drawn.randrange(len(content))
        match number % 3:
            case 0:
                for _ in range(drawn.choice((1, 10, 100))):
                    content[min(drawn.randrange(len(content)), drawn.randrange(len(content)))] ^= 1 << drawn.randrange(
                        8
                    )
            case 1:
                del content[place : place + drawn.randrange(1, len(content))]
            case 2:
                other = drawn.choice(sources).read_bytes()
                content[place:place] = other[drawn.randrange(len(other)) :][: drawn.randrange(1, 20_000)]
        (damaged / f"{number:04d}{source.suffix}").write_bytes(content)
    code = run(options.model, damaged, work / "fuzzed")
    rows = pq.read_table(work / "fuzzed" / "files.parquet").to_pylist()  # type: ignore[no-untyped-call]
    told = all(row["reason"] if row["status"] == "failed" else not row["reason"] for row in rows)
    kinds = Counter(row["status"] for row in rows)
    hard = [row["reason"] for row in rows if "worker" in row["reason"] or "fault" in row["reason"]]
    hard += [row["reason"] for row in rows if "no progress" in row["reason"]]
    survived = code in (0, 3) and told and len(rows) == options.damaged
    return {"exit_code": code, **kinds, "crashes, hangs, faults": hard, "survived": survived}


if __name__ == "__main__":
    sys.exit(main())
