"""Start the demo's processes, each in a session of its own, and stop every one of them, whatever happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from include.demo.interrupts import SIGNALS, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
RECORD = "running.json"


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do.

    :param log: the file to look into, or the name of the process whose log that is.
    """

    def __init__(self, text: str, log: Path | str | None = None) -> None:
        super().__init__(text)
        self.log = log


class Processes:
    """The demo's processes. Leaving the ``with`` block ends all of them.

    What runs is written to ``<home>/running.json`` with pid and time of start, for whoever comes after one that was
    killed.

    :param home: the folder that belongs to this demo alone; gets ``logs/``, one file per process.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self.logs = self.home / "logs"
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._folders: list[Path] = []
        self._stack = ExitStack()

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_error: object) -> None:
        with _deaf():
            with self._stack, ExitStack() as ends:  # each of them, though one of them may fail
                for _name, process in self._running:
                    ends.callback(stop_child, process)
            self._running.clear()
            (self.home / RECORD).unlink(missing_ok=True)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
        """Start one process in a new session, its output in ``<logs>/<name>.log``."""
        log = self._stack.enter_context((self.logs / f"{name}.log").open("ab"))
        with patient():  # what has started is known, or it has not started
            process = subprocess.Popen(
                command, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **more
            )
            self._running.append((name, process))
            self._write_down()
        return process

    def finish(self, name: str, command: Sequence[str], env: Mapping[str, str], seconds: float, **more: Any) -> None:
        """Run a command to its end; a Ctrl-C waits for that.

        :raises DemoError: when it fails or takes longer.
        """
        with patient():
            process = self.start(name, command, env, **more)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            stop_child(process)
            self._running.remove((name, process))
        if process.returncode:
            raise DemoError(f"{name} failed with status {process.returncode}", name)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and its session at once, without a word of warning."""
        _kill(session(process.pid))
        process.wait()
        self._running = [each for each in self._running if each[1] is not process]

    def owns(self, folder: Path, remove: Callable[[Path], None]) -> None:
        """Remove this folder at the end, after all processes; whoever comes after a killed one does, too."""
        self._folders.append(folder)
        self._stack.callback(remove, folder)
        self._write_down()

    def _write_down(self) -> None:
        running = [
            {"name": name, "pid": process.pid, "started": started}
            for name, process in self._running
            if (started := start_time(process.pid)) is not None
        ]
        record, fresh = self.home / RECORD, self.home / f"{RECORD}.new"
        fresh.write_text(json.dumps({"processes": running, "folders": [str(folder) for folder in self._folders]}))
        fresh.replace(record)

    def check(self) -> None:
        """Raise when a process ended by itself, or the demo is to end.

        :raises DemoError: with its log.
        """
        check()
        for name, process in self._running:
            if process.poll() is not None:
                raise DemoError(f"{name} ended by itself, with status {process.returncode}", name)

    def wait_for(self, what: str, condition: Callable[[], T | None], seconds: float, log: str | None = None) -> T:
        """Return the condition's first true value.

        :param log: the process that is to blame when it never comes.
        :raises DemoError: when it takes too long, or a process ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if value := condition():
                return value
            time.sleep(0.2)
        raise DemoError(f"{what}: nothing after {seconds:.0f} s; all logs are in {self.logs}", log)


def status_of(*command: str | Path) -> int:
    """Run a short command to its end, unheard, and give its status; a Ctrl-C waits for that.

    :raises OSError: when there is no such program.
    """
    with patient():  # a Ctrl-C in the middle of a start leaves a process that nobody knows
        return subprocess.run(command, capture_output=True, check=False, start_new_session=True).returncode


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours and its whole session: Airflow's children outlive a signal to their parent alone."""
    if process.poll() is None:
        _stop(process.pid, process.wait)
    process.wait()
    _kill(session(process.pid))


def stop_stranger(pid: int) -> None:
    """End a session that another process started, its leader being alive."""
    with suppress(psutil.NoSuchProcess):
        _stop(pid, psutil.Process(pid).wait)


def _stop(leader: int, wait: Callable[[float], Any]) -> None:
    """Ask the session to end; after 15 s do not ask."""
    members = set(session(leader)) | _descendants(leader)  # PostgreSQL gives each of its children a session
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGINT)
    try:
        with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            wait(15)
    finally:
        _kill(members | set(session(leader)))


def _descendants(pid: int) -> set[int]:
    with suppress(psutil.Error):
        return {each.pid for each in psutil.Process(pid).children(recursive=True)}
    return set()


def _kill(pids: Iterable[int]) -> None:
    """Kill these at once and wait until they are gone."""
    for each in _processes(pids):
        with suppress(psutil.Error):
            each.kill()
            while each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)


def _processes(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in set(pids):
        with suppress(psutil.Error):
            yield psutil.Process(pid)


def start_time(pid: int) -> float | None:
    """When a process started, seconds since 1970; None when there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def session(leader: int) -> Iterator[int]:
    """Yield the pids of a session that are alive."""
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == leader:
                yield pid


@contextmanager
def patient() -> Iterator[None]:
    """Let Ctrl-C and its kin wait until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    before = {each: signal.signal(each, lambda number, _frame: noted.append(number)) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if noted:
            signal.raise_signal(noted[0])


@contextmanager
def _deaf() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the clean-up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
