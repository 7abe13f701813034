"""``python -m include.demo [--once]``: the whole loop on this machine, checked against the simulator's truth."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper

from include.demo.interrupts import forget, listen  # nothing heavy: Ctrl-C is not heard yet

PORTS = ("airflow", "sandbox", "receiver", "counters", "worker-log", "trigger-log", "postgres")


def main() -> int:
    """Read the options and run."""
    try:
        listen()
        return _run()
    except KeyboardInterrupt:
        forget()
        print("demo: interrupted; everything it started is stopped", file=sys.stderr)
        return 130


def _run() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m include.demo",
        description=__doc__,
        epilog="A port that is not given is the usual one, or a free one where that is taken.",
    )
    parser.add_argument(
        "--once", action="store_true", help="end after one full cycle; the last line is one JSON object"
    )
    for name in PORTS:
        parser.add_argument(f"--{name}-port", dest=name.replace("-", "_"), type=_port, metavar="PORT")
    if isinstance(sys.stdout, TextIOWrapper):  # what a terminal cannot show is shown as an escape, and ends nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    options = vars(parser.parse_args())
    once = options.pop("once")
    from include.demo.story import run

    return run(options, once=once)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535 is")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
