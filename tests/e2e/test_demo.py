"""The demo as a test: found equals truth, in real Airflow; and however it ends, nothing is left behind."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from include.demo.ports import reserve
from include.demo.processes import RECORD
from tests.support.places import BUILD, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is left of a process"),
]
SUBREAPER = 36  # of prctl(2)
PLACED = re.compile(r"everything of this demo is in (\S+); it listens on (.*)")


class Running:
    """A demo in a session of its own, as a terminal would start it, and what it has said so far."""

    def __init__(self, tmp: Path, *options: str) -> None:
        tmp.mkdir(exist_ok=True)
        self.tmp, self.said, self.held = tmp, "", set[str]()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "include.demo", *options],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, words: str) -> str:
        """Read on to a line that contains these words, and return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}:\n{self.said}")

    @property
    def home(self) -> Path:
        """Its folder."""
        return Path(self._placed()[0])

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return [int(port) for port in re.findall(r"=(\d+)", self._placed()[1])]

    def _placed(self) -> tuple[str, str]:
        if not (found := PLACED.search(self.said)):
            self.until("it listens on")
            return self._placed()
        return found[1], found[2]

    def until_it_hears(self, number: int) -> None:
        """Wait until it has set a handler of its own for this signal, the first that a demo does."""
        status = Path(f"/proc/{self.process.pid}/status")
        while not int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) >> (number - 1) & 1:
            assert self.process.poll() is None, self.said
            time.sleep(0.005)

    def record(self) -> dict[str, int]:
        """Name -> pid of what it has started."""
        rows = json.loads((self.home / RECORD).read_text())["processes"]
        return {row["name"]: row["pid"] for row in rows}

    def _mapped(self) -> set[str]:
        """Files in /dev/shm that its PostgreSQL holds, though a kill would leave them there; initdb's last a moment."""
        found: set[str] = set()
        for each in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(OSError, psutil.NoSuchProcess):
                if not {"--boot", "--single", "--check"} & set(each.cmdline()):
                    found |= set(re.findall(r"/dev/shm/PostgreSQL\S+", Path(f"/proc/{each.pid}/maps").read_text()))
        return found

    def end(self, number: int | None = None) -> int:
        """Wait until it ends, after a signal to all of its terminal's foreground, if any; gives its status."""
        self.held = self._mapped()
        if number is not None:
            os.killpg(self.process.pid, number)
        self.said += self.process.communicate(timeout=580)[0]
        return self.process.returncode


def segments() -> set[str]:
    """Shared memory whose process is gone, of the user whom the demo's PostgreSQL runs as."""
    user = "nobody" if os.geteuid() == 0 else psutil.Process().username()
    listed = subprocess.run(["ipcs", "-m", "-p"], capture_output=True, text=True, check=True).stdout
    rows = [row for line in listed.splitlines() if len(row := line.split()) == 4 and row[1] == user]
    return {row[0] for row in rows if not psutil.pid_exists(int(row[2]))}


@pytest.fixture(autouse=True)
def orphans_are_ours() -> None:
    """Whatever outlives a demo becomes a child of this process."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


@contextmanager
def nothing_left(*, but: tuple[Path, ...] = ()) -> Iterator[list[Running]]:
    """Check, when the demos put into the list have ended, that nothing of them is left.

    Of ports nothing is asked, nor of files in /dev/shm: anybody's demo or PostgreSQL may have taken one since.
    """
    before, children, demos = segments(), set(psutil.Process().children(recursive=True)), list[Running]()
    try:
        yield demos
        left = [each for each in psutil.Process().children(recursive=True) if each not in children]
        assert [told for each in left if (told := alive(each))] == []
        assert [demo.held for demo in demos if demo.held] == []
        assert segments() - before == set()
        assert [path for demo in demos for path in demo.tmp.iterdir()] == []
        assert list(BUILD.glob(f"demo*/{RECORD}")) == []
    finally:
        for demo in demos:
            if demo.process.poll() is None:
                demo.end(signal.SIGINT)
            assert demo.process.stdout is not None
            demo.process.stdout.close()
        for each in set(psutil.Process().children()) - children:
            with suppress(psutil.Error):
                each.kill()
                each.wait(10)


def alive(process: psutil.Process) -> list[str]:
    """Its name and command, while it lives."""
    with suppress(psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            return [process.name(), *process.cmdline()]
    return []


def test_found_equals_truth_and_a_second_cycle_changes_nothing(tmp_path: Path) -> None:
    with nothing_left() as demos:
        demos.append(demo := Running(tmp_path / "tmp", "--once"))
        status = demo.end()
        last = json.loads(demo.said.splitlines()[-1])
        assert last["found"] == last["truth"], demo.said
        assert last["ok"], demo.said
        assert status == 0


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("it listens on", id="before-anything"),
        pytest.param("starting PostgreSQL", id="postgres"),
        pytest.param("starting simulator", id="start"),
        pytest.param("first look", id="first_look"),
        pytest.param("live port-ins", id="live"),
        pytest.param("one full cycle", id="cycle"),
    ],
)
def test_ctrl_c_leaves_nothing(tmp_path: Path, phase: str) -> None:
    with nothing_left() as demos:
        demos.append(demo := Running(tmp_path / "tmp", "--once"))
        demo.until(phase)
        assert demo.end(signal.SIGINT) == 130
        assert demo.said.splitlines()[-1] == "demo: interrupted; everything it started is stopped"
        assert "Traceback" not in demo.said


def test_ctrl_c_while_it_starts_leaves_nothing_and_no_traceback(tmp_path: Path) -> None:
    """Again and again, a little later each time: while it imports, while PostgreSQL makes its files and starts."""
    with nothing_left() as demos:
        for number in range(8):
            demos.append(demo := Running(tmp_path / f"tmp{number}", "--once"))
            demo.until_it_hears(signal.SIGHUP)
            with suppress(subprocess.TimeoutExpired):
                demo.process.wait(number * 0.5)
            assert demo.end(signal.SIGINT) == 130, demo.said
            assert "Traceback" not in demo.said


def test_two_beside_each_other_and_one_after_a_killed_one(tmp_path: Path) -> None:
    with nothing_left() as demos:
        demos += [Running(tmp_path / "one"), Running(tmp_path / "two")]
        one, two = demos
        assert one.home != two.home
        assert set(one.ports).isdisjoint(two.ports)
        for demo in demos:
            demo.until("* first look")
        left = one.record()
        assert set(left) == {"postgres", "sandbox", "receiver", "airflow"}
        one.end(signal.SIGKILL)

        demos.append(three := Running(tmp_path / "three"))
        assert three.home == one.home
        three.until("starting simulator")
        for name, pid in left.items():
            sentence = f"an earlier demo was killed and left {name} running (pid {pid}): stopping it"
            assert sentence in three.said
        living = {each.pid for each in psutil.Process().children(recursive=True) if alive(each)}
        assert [name for name, pid in left.items() if pid in living] == []
        assert two.process.poll() is None
        assert [name for name, pid in two.record().items() if not psutil.pid_exists(pid)] == []
        assert [demo.end(signal.SIGINT) for demo in (two, three)] == [130, 130]


@pytest.mark.parametrize("victim", ["postgres", "airflow", "sandbox", "receiver"])
def test_what_ends_under_it_is_said_in_a_sentence_with_its_log(tmp_path: Path, victim: str) -> None:
    with nothing_left() as demos:
        demos.append(demo := Running(tmp_path / "tmp", "--once"))
        demo.until("starting simulator")
        while victim not in demo.record():
            assert demo.process.poll() is None
        os.kill(demo.record()[victim], signal.SIGKILL)
        assert demo.end() == 1
        assert "Traceback" not in demo.said
        told = demo.said[demo.said.index("\ndemo: ") :]
        assert re.match(rf"\ndemo: {victim} ended by itself, with status -9\n", told)
        assert f"its log is {demo.home}/logs/{victim}.log" in told


def test_a_pinned_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    with nothing_left() as demos, reserve(usual=False) as free:
        demos.append(demo := Running(tmp_path / "tmp", "--once", f"--receiver-port={free.receiver}"))
        assert demo.end() == 1
        assert f"demo: port {free.receiver} is taken; free it, choose another with --receiver-port" in demo.said


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", ""])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    with nothing_left() as demos:
        demos.append(demo := Running(tmp_path / "tmp", f"--airflow-port={port}"))
        assert demo.end() == 2
        assert f"argument --airflow-port: {port!r} is no port: a number from 1 to 65535 is" in demo.said
