"""Workers that can be killed, for tests: see loop_worker."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.scenarios.loop import MINUTE, Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


class Crew:
    """Sends out workers for a loop's plans."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, loop: Loop, plan_id: str, **job: Any) -> list[dict[str, Any]]:
        """Let one worker (or several) advance a plan, and say how each ended."""
        common = {
            "ledger": loop.ledger.url.render_as_string(hide_password=False),
            "clock": str(loop.clock_file),
            "key": loop.sandbox.api_key,
            "base_url": loop.sandbox.base_url,
            "plan": plan_id,
        }
        return self._ask({**common, **job})

    def wait(self, pid: int) -> list[dict[str, Any]]:
        """Wait for a worker that was frozen."""
        return self._ask({"wait": pid})

    def _ask(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def crew() -> Iterator[Crew]:
    command = [sys.executable, "-m", "tests.chaos.loop_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Crew(process)
        finally:
            process.kill()


def lose(loop: Loop, count: int) -> list[str]:
    """Events whose notifications are lost to a receiver that is down, and found missed."""
    loop.ear.up = False
    lost = loop.events(count)
    loop.jump(10 * MINUTE)
    loop.ear.up = True
    loop.ear.beat()
    loop.jump(20 * MINUTE)
    loop.look()
    return lost


def recover(loop: Loop, lost: list[str], plan_id: str) -> None:
    """Bring plan and events to their end, as the DAGs would."""
    loop.jump(3 * MINUTE)
    loop.resume(plan_id)
    for _ in range(3):
        if all(loop.states()[event] == "arrived" for event in lost):
            return
        loop.jump(5 * 60 * MINUTE)
        loop.cycle()


def faults(loop: Loop, lost: list[str]) -> list[str]:
    """What went wrong: sent twice, lost, or a false verdict."""
    asked, states = loop.asked(), loop.states()
    wrong = [f"{event} was sent {asked[event]} times" for event in lost if asked[event] > 1]
    wrong += [f"{event} is {states[event]}" for event in lost if states[event] != "arrived"]
    return wrong + loop.false_verdicts()
