"""The demo as a test: the whole loop in real Airflow, found equals truth, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from include.demo.airflow import Ports
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e
NAMES = [name.replace("_", "-") for name in Ports.__dataclass_fields__]


@pytest.fixture
def ports() -> dict[str, int]:
    """Ports nobody uses now."""
    sockets = [socket.socket() for _ in NAMES]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = {name: one.getsockname()[1] for name, one in zip(NAMES, sockets, strict=True)}
    for one in sockets:
        one.close()
    return found


def demo(ports: dict[str, int], *options: str) -> subprocess.Popen[str]:
    """Start the demo on its own ports, in a session of its own as a terminal would."""
    chosen = [f"--{name}-port={port}" for name, port in ports.items()]
    command = [sys.executable, "-m", "include.demo", *options, *chosen]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def listening(ports: dict[str, int]) -> Iterator[int]:
    """Yield the ports on which somebody still answers."""
    for port in ports.values():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                yield port


@pytest.mark.timeout(600)
def test_found_equals_truth_and_a_second_cycle_changes_nothing(ports: dict[str, int]) -> None:
    process = demo(ports, "--once")
    output, _ = process.communicate(timeout=580)
    last = json.loads(output.splitlines()[-1])
    assert last["found"] == last["truth"], output
    assert last["ok"], output
    assert process.returncode == 0
    assert list(listening(ports)) == []


@pytest.mark.timeout(300)
def test_ctrl_c_stops_everything_it_started(ports: dict[str, int]) -> None:
    process = demo(ports)
    deadline = time.monotonic() + 120
    while len(list(listening(ports))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None, "the demo ended by itself"
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    assert list(listening(ports)) == []


def test_a_taken_port_is_named_before_anything_starts(ports: dict[str, int]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports["receiver"]))
        taken.listen()
        chosen = [f"--{name}-port={port}" for name, port in ports.items()]
        command = [sys.executable, "-m", "include.demo", "--once", *chosen]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert f"port {ports['receiver']} (receiver) is taken" in run.stderr
    assert "--receiver-port" in run.stderr
