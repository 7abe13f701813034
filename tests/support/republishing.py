"""Republishing without a ledger: its operator at a pace that tests can wait for, and what Telnyx was asked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.operators.porting import TelnyxRepublishPortingEventsOperator

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_PER_SECOND", "100")


@pytest.fixture
def events(sandbox: RunningSandbox) -> list[str]:
    """Fifty events that can be republished."""
    sandbox.order()
    return sandbox.burst(50)


def republish(context: dict[str, Any], event_ids: Any, **arguments: Any) -> dict[str, Any]:
    operator = TelnyxRepublishPortingEventsOperator(task_id="republish", event_ids=event_ids, **arguments)
    return operator.execute(context)


def asked(sandbox: RunningSandbox) -> Counter[str]:
    """How often each event was asked for, leaving out what Telnyx refused for certain."""
    refusals = {401, 403, 404, 422, 429}
    return Counter(call["event_id"] for call in sandbox.republishes() if call["status"] not in refusals)


def asked_of(sandbox: RunningSandbox, ids: list[str]) -> Counter[str]:
    return Counter({each: times for each, times in asked(sandbox).items() if each in ids})
