"""A simulated Telnyx behind an Airflow connection, and the surroundings of a running task."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.airflow.stores import Comms


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    """A simulated Telnyx without orders, events or faults, of whose pace nothing is known."""
    pacer._PACERS.clear()
    running.reset("empty", seed=1)
    running.clear_faults()
    running.forget_requests()
    return running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define a connection; gives its id."""

    def define(conn_id: str = "telnyx_default", **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "telnyx", **fields}))
        return conn_id

    return define


@pytest.fixture
def conn_id(sandbox: RunningSandbox, connect: Callable[..., str]) -> str:
    """The connection to the sandbox."""
    return connect(host=sandbox.base_url, password=sandbox.api_key)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    """The wire between a task or trigger and Airflow."""
    from airflow.sdk.execution_time import task_runner

    from tests.airflow.stores import Comms

    wire = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", wire, raising=False)
    return wire


@pytest.fixture
def context(comms: Comms) -> dict[str, Any]:
    """The context of a running task."""
    return {"task_state_store": comms.task_store(), "ti": SimpleNamespace(max_tries=2)}
