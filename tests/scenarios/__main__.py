"""``python -m tests.scenarios [words]``: play all scenarios, or those whose name holds the words; print a table.

With no words, or with ``bounds``, what the README promises is measured too.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

from include.sandbox.testing import running_sandbox
from tests.scenarios import bounds
from tests.scenarios.loop import loop
from tests.scenarios.table import STORIES

BOUND = 0.05  # of what arrived, told as "cannot be told"


def main(words: str) -> int:
    """Return 0 when every scenario came out as expected, and little that arrived was lost to ambiguity."""
    logging.disable(logging.WARNING)
    chosen = [story for story in STORIES if words in story.name]
    width = max((len(story.name) for story in chosen), default=0)
    wrong = lost = arrived = 0
    begin = time.monotonic()
    with running_sandbox() as sandbox:
        for story in chosen:
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder, loop(sandbox, Path(folder), **story.knobs) as running:
                try:
                    got = story.play(running)
                except Exception as error:  # the table goes on, and says so
                    got = f"{type(error).__name__}: {error}"
                unclear, here = running.lost_to_ambiguity()
                lost, arrived = lost + unclear, arrived + here
            ok = got == story.expected
            wrong += not ok
            seconds = time.monotonic() - started
            print(f"{'ok   ' if ok else 'WRONG'} {story.name:{width}}  {story.expected}  ({seconds:.1f} s)", flush=True)
            if not ok:
                print(f"{'':{width + 6}}  got: {got}", flush=True)
        if words in "bounds":
            with tempfile.TemporaryDirectory() as folder, loop(sandbox, Path(folder), **bounds.KNOBS) as running:
                print(bounds.table(bounds.measure(running)))
    share = lost / max(arrived, 1)
    print(f"lost to ambiguity: {lost} of {arrived} events that arrived, {share:.1%} (bound {BOUND:.0%})")
    print(f"{len(chosen) - wrong} of {len(chosen)} scenarios as expected, {time.monotonic() - begin:.0f} s")
    return 1 if wrong or (share >= BOUND and not words) else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
