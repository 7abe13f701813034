"""A Ctrl-C at any moment leaves no process of the demo's: what has started is known, or it has not started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from include.demo.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBREAPER = 36  # of prctl(2)
STARTS = """
import pathlib, sys
from include.demo.interrupts import listen
from include.demo.processes import Processes, status_of
listen()  # whoever runs the tests in the background is deaf to Ctrl-C, and so would its children be
print("ready", flush=True)
"""
AGAIN_AND_AGAIN = {
    "a-short-command": "while True: status_of(sys.executable, '-S', '-c', '')",
    "one-that-goes-on": "with Processes(pathlib.Path(sys.argv[1])) as processes:\n"
    "    while True: processes.kill(processes.start('one', [sys.executable, '-S', '-c', 'input()'], {}))",
}
# As PostgreSQL's: a child with a session of its own, deaf to everything but a kill.
BROOD = """
import os, signal, time
if not os.fork():
    os.setsid()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    time.sleep(600)
os.wait()
"""


@pytest.fixture
def left() -> Iterator[set[psutil.Process]]:
    """Whatever outlives its parent becomes a child of this process; killed afterwards."""
    if sys.platform != "linux":
        pytest.skip("asks Linux what is left of a process")
    before, outlived = set(psutil.Process().children(recursive=True)), set[psutil.Process]()
    was = ctypes.c_int()
    ctypes.CDLL(None).prctl(SUBREAPER + 1, ctypes.byref(was), 0, 0, 0)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    yield outlived
    ctypes.CDLL(None).prctl(SUBREAPER, was.value, 0, 0, 0)
    for each in set(psutil.Process().children()) - before:
        each.kill()
        each.wait(10)


@pytest.mark.parametrize("code", AGAIN_AND_AGAIN.values(), ids=AGAIN_AND_AGAIN)
def test_a_ctrl_c_at_any_moment_leaves_no_process(code: str, left: set[psutil.Process], tmp_path: Path) -> None:
    known = set(psutil.Process().children(recursive=True))
    for _ in range(20):
        command = [sys.executable, "-c", STARTS + code, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == -signal.SIGINT
        left |= set(psutil.Process().children(recursive=True)) - known
        assert left == set()


def test_children_in_sessions_of_their_own_end_too(left: set[psutil.Process], tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("brood", [sys.executable, "-c", BROOD], {})
        log = tmp_path / "logs" / "brood.log"
        child = processes.wait_for("its child", lambda: int(log.read_text() or 0), 30)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert left == set()


SWALLOWED = """
import signal
from include.demo.interrupts import check, listen
class Doomed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
listen()
Doomed()
print("it went on")
try:
    check()
except KeyboardInterrupt:
    print("and heard of it")
"""


def test_a_ctrl_c_that_python_drops_is_heard_at_the_next_look() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("it went on\nand heard of it\n", "")


WHILE_A_DATACLASS_IS_MADE = """
import sys
from include.demo import __main__ as demo
demo._run = lambda: exec("import signal; signal.raise_signal(signal.SIGINT)")
sys.exit(demo.main())
"""


def test_a_ctrl_c_in_code_that_is_made_at_import_ends_with_a_status(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(WHILE_A_DATACLASS_IS_MADE)
    places = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    done = subprocess.run([sys.executable, "-m", "made"], env=places, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "demo: interrupted; everything it started is stopped\n")
