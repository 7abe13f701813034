"""When another try is worth it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow import sdk

from telnyx_porting.compat import IS_3_3
from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    FormError,
    InvalidRequestError,
    NotFoundError,
    NotScannedError,
    PermissionDeniedError,
    PlanError,
    RateLimitedError,
    ServerError,
    SettingsError,
)
from telnyx_porting.operators.porting import TelnyxRetryPolicy, telnyx_task_defaults

pytestmark = pytest.mark.skipif(not IS_3_3, reason="Airflow 3.2 has no retry policies")


def decide(error: Exception) -> tuple[sdk.RetryAction, timedelta | None]:
    decision = TelnyxRetryPolicy().evaluate(error, 1, 3)
    return decision.action, decision.retry_delay


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", status=401),
        PermissionDeniedError("no", status=403),
        InvalidRequestError("no", status=422, parameter="filter[type]"),
        NotFoundError("no", status=404),
        SettingsError("timeout", "soon", "a number"),
        FormError("from", "soon", "a time"),
        PlanError("no such plan"),
        NotScannedError("not yet"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_fails_at_once(error: Exception) -> None:
    assert decide(error) == (sdk.RetryAction.FAIL, None)


def test_waits_as_long_as_telnyx_asks() -> None:
    assert decide(RateLimitedError("slow", status=429, retry_after=37.0)) == (
        sdk.RetryAction.RETRY,
        timedelta(seconds=37),
    )


@pytest.mark.parametrize("error", [ServerError("x", status=503), ConnectError("x"), ValueError("x")])
def test_everything_else_is_the_tasks_own_business(error: Exception) -> None:
    assert decide(error) == (sdk.RetryAction.DEFAULT, None)


def test_defaults_can_be_overridden() -> None:
    defaults = telnyx_task_defaults(owner="porting", retries=1)
    assert defaults["pool"] == "telnyx_api"
    assert (defaults["owner"], defaults["retries"]) == ("porting", 1)
    assert isinstance(defaults["retry_policy"], TelnyxRetryPolicy)
