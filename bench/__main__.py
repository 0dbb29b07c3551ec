"""Measure the app: `python -m bench`."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import CannotMeasure, need
from bench.table import render

NAMES = (
    "home",
    "graph",
    "distance",
    "deployed",
    "crowd",
    "servers",
    "anonymous",
    "signin",
    "sessions",
    "telemetry",
    "memory",
    "start",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    :param arguments: the command line's; None for this process's own.
    :return: the exit code: 0 when everything was measured, whatever came of it, and 1 when something could not be.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the app against the quickstart's way and bare Flask, on this machine.",
    )
    parser.add_argument("--quick", action="store_true", help="be done within two minutes; the figures are rougher")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the picture for docs/bench.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    options = parser.parse_args(arguments)
    names = [name for name in NAMES if not options.only or name in options.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    try:
        need("wrk", "wrk")
        if "sessions" in names:
            need("redis-server", "redis-server")
        rows = measure(names, options.quick)
    except CannotMeasure as problem:
        print(problem, file=sys.stderr)
        return 1
    except ModuleNotFoundError as problem:
        print(
            f"The package {problem.name!r} is missing. Install what the bench needs: "
            f"{shlex.quote(sys.executable)} -m pip install -r requirements.txt -r sandbox/requirements.txt",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 1
    print(render(rows))
    if options.json:
        text = json.dumps([row.as_json() for row in rows], indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.svg:
        from bench.picture import draw

        options.svg.write_text(draw(rows), encoding="utf-8")
    return 0


def measure(names: Sequence[str], quick: bool) -> list:
    """Measure what is asked for, and say on standard error how it goes."""
    from bench.measures import MEASURES, Pace, prepare

    pace = Pace(rounds=3, seconds=1, warm_up=False, people=16, many=10_000) if quick else Pace(rounds=7, seconds=3)
    rows = []
    with prepare(pace) as bench:
        for name in names:
            began = time.monotonic()
            rows += MEASURES[name](bench)
            print(f"{name}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
