"""``python -m include.demo.soak``: run the demo many times in a row, keep a line of each, and count."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.demo.interrupts import forget
from include.demo.processes import patient

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900  # seconds after which a demo that has not ended is stopped, and counts as failed
BUSY = "while True: pass"


def main() -> int:
    """Run what is still missing; 0 when every run was good."""
    parser = argparse.ArgumentParser(prog="python -m include.demo.soak", description=__doc__)
    parser.add_argument("runs", type=_count, metavar="N", help="how many runs there shall be, those on file included")
    parser.add_argument("--busy", type=_count, default=0, metavar="B", help="loops that keep a core busy meanwhile")
    parser.add_argument(
        "--file", type=Path, help="the file of lines (default: build/soak.jsonl, build/soak-busy-B.jsonl)"
    )
    options = parser.parse_args()
    file = options.file or ROOT / "build" / (f"soak-busy-{options.busy}.jsonl" if options.busy else "soak.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = _lines(file)
    print(f"{file}: {len(done)} of {options.runs} runs are there already", flush=True)
    try:
        with _busy(options.busy):
            while len(done) < options.runs:
                done.append(_once(file, len(done) + 1, options.busy))
    except KeyboardInterrupt:
        forget()
        print("interrupted; go on with the same command", file=sys.stderr)
        return 130
    tally = _tally(done)
    with file.open("a") as lines:
        lines.write(json.dumps({"tally": tally}) + "\n")
    print(tally)
    return 0 if all(line["ok"] for line in done) else 1


def _once(file: Path, number: int, busy: int) -> dict[str, Any]:
    """Run one demo to its end and add its line; one that is interrupted leaves none."""
    begun, begin, output = datetime.now(UTC), time.monotonic(), file.with_name(f"{file.stem}-{number}.log")
    with output.open("wb") as log:
        command = [sys.executable, "-m", "include.demo", "--once"]
        process: subprocess.Popen[bytes] | None = None
        try:
            with patient():
                process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            status: int | str = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = f"stopped after {LIMIT} s"
        finally:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
    summary = _summary(output)
    line = {
        "run": number,
        "begun": begun.isoformat(timespec="seconds"),
        "ok": status == 0 and summary.get("ok") is True,
        "status": status,
        "seconds": round(time.monotonic() - begin, 1),
        "busy": busy,
        "load": round(os.getloadavg()[0], 1),
        "phases": summary.get("seconds", {}),
    }
    if line["ok"]:
        output.unlink()
    else:
        line["output"] = str(output)
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)
    return line


def _summary(output: Path) -> dict[str, Any]:
    for text in reversed(output.read_text(errors="replace").splitlines()):
        if text.startswith('{"ok"'):
            return dict(json.loads(text))
    return {}


def _lines(file: Path) -> list[dict[str, Any]]:
    written = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
    return [line for line in written if "tally" not in line]


def _tally(lines: list[dict[str, Any]]) -> str:
    good = Counter(line["ok"] for line in lines)[True]
    seconds = sorted(line["seconds"] for line in lines)
    spread = f"; seconds: {seconds[0]} to {seconds[-1]}, median {seconds[len(seconds) // 2]}" if seconds else ""
    return f"{good} of {len(lines)} good{spread}"


@contextmanager
def _busy(number: int) -> Iterator[None]:
    loops = list[subprocess.Popen[bytes]]()
    try:
        for _ in range(number):
            with patient():
                loops.append(subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs or loops: 0 or more is")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
