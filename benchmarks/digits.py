"""The recipe of the ten words trained on digits instead, then judged on real voices.

python -m benchmarks.digits --output DIR --cache DIR --data DIR; what is not an option here goes to pipelines.run
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import real_voices
from benchmarks.words import DIGITS
from pipelines import run

WORDS = f"[{', '.join(DIGITS)}]"


def main(argv: Sequence[str] | None = None) -> int:
    """Train, unless the run folder holds a finished model, and judge; returns the exit code of what failed first."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--recipe", default="recipes/kws.yaml", help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of fsdd, keyword-streams, ...")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets run/ and real-voices/")
    parser.add_argument("--cache", required=True, metavar="DIR", help="as in pipelines.run")
    options, others = parser.parse_known_args(argv)
    model = options.output / "run" / "model"
    if (model / "card.md").is_file() and not others:
        print(f"{model} is there already: judged as it is; --overwrite trains again")
    else:
        options.output.mkdir(parents=True, exist_ok=True)
        arguments = [options.recipe, "--corpus.init_args.words", WORDS]
        arguments += ["--output", str(options.output / "run"), "--cache", options.cache, *others]
        if exit_code := run.main(arguments):
            return exit_code
    return real_voices.main([str(model), "--data", str(options.data), "--output", str(options.output / "real-voices")])


if __name__ == "__main__":
    sys.exit(main())
