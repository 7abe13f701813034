"""A process that stays ready and forks workers on command: a worker advances one plan, and may be killed or frozen.

One JSON object per line comes in; one answer per line goes out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from telnyx_porting.client import TelnyxClient
from telnyx_porting.failpoints import VARIABLE
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.republish import advance as republish
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.settings import Settings
from tests.scenarios.clock import Shifted
from tests.scenarios.loop import ACCOUNT, KNOBS

republish.LOOK_AGAIN = (timedelta(seconds=0.02), timedelta(seconds=0.1))
PATIENCE = 2.0  # seconds a worker waits without news before it leaves the rest to others
DOOMED_PATIENCE = 20.0  # of one that is to reach a failpoint, on however slow a machine


def work(job: dict[str, Any]) -> None:
    """Advance the plan until it is done, or until only waiting is left."""
    if job.get("failpoint"):
        os.environ[VARIABLE] = job["failpoint"]
    clock = Shifted(Path(job["clock"]), job.get("skew", 0.0))
    ledger, settings = Ledger(job["ledger"]), Settings(**{**KNOBS, **job.get("knobs", {})})
    patience = DOOMED_PATIENCE if job.get("failpoint") else PATIENCE
    until, news = time.monotonic() + patience, ""
    with TelnyxClient(job["key"], job["base_url"], clock=clock) as client:
        while time.monotonic() < until:
            step = republish.advance(Account(ledger, ACCOUNT, settings, clock=clock.now), client, job["plan"])
            if not isinstance(step, republish.Wait):
                break
            if step.why != news:
                until, news = time.monotonic() + patience, step.why
            time.sleep(min(max((step.until - clock.now()).total_seconds(), 0.0), 0.1))


def fork(job: dict[str, Any]) -> int:
    """Start a worker."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work(job)
            status = 0
        except Exception as error:
            sys.stderr.write(f"worker: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            pids = [job["wait"]]
        else:
            pids = [fork({**job, **one}) for one in job.get("workers", [{}])]
        if (seconds := job.get("kill_after")) is not None:
            time.sleep(seconds)
            os.kill(pids[0], signal.SIGKILL)
        answers = []
        for pid in pids:
            _, status = os.waitpid(pid, os.WUNTRACED)
            how = "stopped" if os.WIFSTOPPED(status) else "killed" if os.WIFSIGNALED(status) else "ended"
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
            answers.append({"pid": pid, "how": how, "code": code})
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
