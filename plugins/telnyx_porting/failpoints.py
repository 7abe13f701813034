"""Failpoints: places where a test may kill or freeze the process; inert unless an environment variable names one.

``TELNYX_PORTING_FAILPOINT="<name>[@<n>][=kill|stop]"``: at the n-th time (default: the first) the place is passed, the
process ends at once as by ``kill -9`` (default), or freezes until somebody sends SIGCONT.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "TELNYX_PORTING_FAILPOINT"
_passed: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place; normally nothing."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, action = wanted.partition("=")
    place, _, count = place.partition("@")
    if place != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
