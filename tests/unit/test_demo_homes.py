"""What a killed demo left running is stopped by the next one: that alone, and nothing that only has its number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from include.demo.homes import home
from include.demo.processes import RECORD, Processes
from tests.support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
KILLED = """
import os, sys
from pathlib import Path
from include.demo.homes import home
from include.demo.processes import Processes
with home(Path(sys.argv[1]), "demo") as folder, Processes(folder) as processes:
    elsewhere = Path(sys.argv[1]) / "porting-postgres-1"
    processes.owns(elsewhere, print)
    elsewhere.mkdir()
    child = processes.start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ))
    print(child.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def killed(parent: Path) -> int:
    """Let a demo be killed outright; gives the pid of what it started."""
    command = [sys.executable, "-c", KILLED, str(parent)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return int(ended.stdout)


def test_what_a_killed_one_left_is_named_and_stopped(tmp_path: Path) -> None:
    left = killed(tmp_path)
    assert psutil.Process(left).is_running()
    said: list[str] = []
    with home(tmp_path, "demo", said.append) as folder:
        assert folder == tmp_path / "demo"
        assert list(folder.iterdir()) == []
        assert not (tmp_path / "porting-postgres-1").exists()
    assert said == [f"an earlier demo was killed and left sleeper running (pid {left}): stopping it"]
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_what_the_killed_second_of_two_left_is_stopped_too(tmp_path: Path) -> None:
    with home(tmp_path, "demo"):
        left = killed(tmp_path)
        assert (tmp_path / "demo-2" / RECORD).exists()
    with home(tmp_path, "demo") as folder:
        assert folder == tmp_path / "demo"
        assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_another_process_with_the_same_number_lives(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo.lock").touch()
    begun = psutil.Process(stranger.pid).create_time() - 3600
    row = {"name": "airflow", "pid": stranger.pid, "started": begun}
    (tmp_path / "demo" / RECORD).write_text(json.dumps({"processes": [row], "folders": []}))
    said: list[str] = []
    with home(tmp_path, "demo", said.append):
        assert stranger.poll() is None
    assert said == []


@pytest.mark.parametrize("record", ["", "{", "[]", '{"processes": 1}', '{"processes": [{}], "folders": []}'])
def test_a_record_that_cannot_be_read_stops_nobody(tmp_path: Path, record: str) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / RECORD).write_text(record)
    with home(tmp_path, "demo") as folder:
        assert list(folder.iterdir()) == []


def test_a_living_demo_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    with home(tmp_path, "demo") as first, Processes(first) as processes:
        child = processes.start("sleeper", SLEEP, dict(os.environ))
        with home(tmp_path, "demo", said.append) as second:
            assert second != first
        assert child.poll() is None
    assert said == []
    assert child.poll() is not None


def test_all_are_ended_though_the_end_of_one_is_interrupted(tmp_path: Path) -> None:
    """A time limit of the test runner, say, that is reached while the second has not yet ended."""
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"

    def too_late(*_arguments: object) -> None:
        raise TimeoutError

    started: list[subprocess.Popen[bytes]] = []

    def run() -> None:
        with Processes(tmp_path) as processes:
            for name, command in (("first", SLEEP), ("second", [sys.executable, "-c", deaf])):
                started.append(processes.start(name, command, dict(os.environ)))
                processes.wait_for(name, (tmp_path / "logs" / f"{name}.log").read_text, 30)
            signal.setitimer(signal.ITIMER_REAL, 0.5)

    before = signal.signal(signal.SIGALRM, too_late)
    try:
        with pytest.raises(TimeoutError):
            run()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [each.wait(10) for each in started] == [-signal.SIGINT, -signal.SIGKILL]
