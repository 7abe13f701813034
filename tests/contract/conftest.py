from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.support.webhook_receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _server() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_server: RunningSandbox) -> RunningSandbox:
    """Give an empty world on a running server; retries are quick."""
    _server.reset("empty", seed=1)
    _server.delivery_rules(deadline_seconds=2.0, retry_delays=[0.03, 0.06])
    _server.rate_limit(0)
    _server.control("DELETE", "/inbox")
    return _server


@pytest.fixture
def api(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """Give a plain HTTP client with the right key."""
    with httpx.Client(base_url=sandbox.base_url, headers=sandbox.headers, timeout=10.0, verify=False) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a webhook receiver."""
    with Receiver() as running:
        yield running
