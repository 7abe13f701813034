"""Errors: a tree that callers can hold on to, and nothing in it that must not be shown."""

from __future__ import annotations

import inspect
import pickle
from datetime import UTC, datetime

import pytest

from telnyx_porting import errors
from telnyx_porting.errors import (
    ConnectError,
    IncompleteListing,
    InvalidRequestError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestTimeout,
    ServerError,
    SettingsError,
    TelnyxError,
    TelnyxPortingError,
)

CLASSES = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, Exception)}


def test_every_error_is_one_of_ours() -> None:
    assert all(issubclass(cls, TelnyxPortingError) for cls in CLASSES.values())


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    lines = (errors.__doc__ or "").split("::", 1)[1].split("``not_processed``", 1)[0].splitlines()
    for line in lines:
        name = line.replace("|", " ").replace("-", " ").replace("`", " ").split()
        if not name or name[0] not in CLASSES:
            continue
        column = line.index(name[0])
        while above and above[-1][0] >= column:
            above.pop()
        drawn[name[0]] = above[-1][1] if above else None
        above.append((column, name[0]))
    true = {name: cls.__mro__[1].__name__ for name, cls in CLASSES.items()}
    assert drawn == true | {"TelnyxPortingError": None}


@pytest.mark.parametrize(
    ("cls", "certain"),
    [(ConnectError, True), (NotSentError, True), (NotFoundError, True), (RequestTimeout, False), (ServerError, False)],
)
def test_it_is_known_what_certainly_had_no_effect(cls: type[TelnyxError], certain: bool) -> None:
    assert cls("why").not_processed is certain
    assert cls("why", not_processed=not certain).not_processed is not certain


def test_an_error_says_where_and_what_telnyx_said() -> None:
    error = NotFoundError(
        "404: not found",
        method="POST",
        path="/porting/events/x/republish",
        status=404,
        code="10005",
        title="Resource not found",
        request_id="req-1",
    )
    assert str(error) == (
        "POST /porting/events/x/republish: 404: not found; Telnyx says: 10005 Resource not found; request req-1"
    )


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("422", parameter="filter[type]", method="GET", path="/x", status=422, code="10031"),
        RateLimitedError("429", retry_after=2.5, status=429),
        IncompleteListing("why", until=datetime(2026, 9, 1, tzinfo=UTC), path="/x"),
        SettingsError("grace", "x", "a duration"),
    ],
)
def test_an_error_survives_the_way_between_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_long_value_is_cut() -> None:
    assert len(str(SettingsError("field", "x" * 10_000, "short"))) < 200
