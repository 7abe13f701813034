"""Start the demo's processes, each in a session of its own, and stop every one of them, whatever happened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Processes:
    """The demo's processes. Leaving the ``with`` block ends all of them.

    :param logs: directory that gets one log file per process.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_error: object) -> None:
        with _deaf():
            for _name, process in reversed(self._running):
                stop(process)
            self._stack.close()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start one process in a new session, its output in ``<logs>/<name>.log``."""
        log = self._stack.enter_context((self.logs / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self._running.append((name, process))
        return process

    def check(self) -> None:
        """Raise when a process ended by itself.

        :raises DemoError: with the last lines of its log.
        """
        for name, process in self._running:
            if process.poll() is not None:
                log = self.logs / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise DemoError(f"{name} ended with status {process.returncode}; its log {log} ends with:\n{tail}")

    def wait_for(self, what: str, condition: Callable[[], T | None], seconds: float) -> T:
        """Return the condition's first true value.

        :raises DemoError: when it takes too long, or a process ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if value := condition():
                return value
            time.sleep(0.2)
        raise DemoError(f"{what}: nothing after {seconds:.0f} s; see the logs in {self.logs}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole session: Airflow's children outlive a signal to their parent alone."""
    members = set(session(process.pid))
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
    for pid in members | set(session(process.pid)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def session(leader: int) -> Iterator[int]:
    """Yield the pids of a session that are alive."""
    for entry in Path("/proc").glob("[0-9]*") if Path("/proc/self").exists() else _ps():
        with suppress(OSError, ValueError):
            if os.getsid(int(entry.name)) == leader:
                yield int(entry.name)


def _ps() -> list[Path]:
    listing = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False)
    return [Path(pid) for pid in listing.stdout.split()]


def require_free(ports: Mapping[str, int]) -> None:
    """Check that nobody listens on the demo's ports.

    :raises DemoError: naming the port and the option to change it.
    """
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise DemoError(
                    f"port {port} ({name}) is taken; free it, or choose another with --{name}-port"
                ) from error


@contextmanager
def _deaf() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the clean-up."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
