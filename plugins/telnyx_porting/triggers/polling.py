"""What the polling triggers share: patience with bad polls, and errors that survive the way to the worker."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from airflow.triggers.base import BaseTrigger, TriggerEvent

from telnyx_porting import errors
from telnyx_porting.errors import FOR_GOOD, TelnyxError, TelnyxPortingError
from telnyx_porting.hooks.outputs import for_airflow
from telnyx_porting.hooks.telnyx import TelnyxHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telnyx_porting.client import AsyncTelnyxClient

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
MAX_FAILURES = 10  # polls in a row that may fail before a trigger gives up
MAX_PAUSE = 600.0  # seconds between polls while they fail
_ABOUT = ("method", "path", "status", "code", "title", "request_id", "parameter", "retry_after")


def pause_after(failures: int, poll_interval: float) -> float:
    """Return the seconds to wait before the next poll, after so many in a row that failed."""
    return max(poll_interval, min(poll_interval * 2.0**failures, MAX_PAUSE)) if failures else poll_interval


async def to_the_end(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Run a short function in a thread; when cancelled, wait until it is through: what it uses may be closed then."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.wait({running})


def error_event(error: Exception) -> dict[str, Any]:
    """Pack an error into JSON values, for a trigger's event, with what a retry policy reads of ours."""
    packed: dict[str, Any] = {"status": "error", "error_type": type(error).__name__, "message": str(error)}
    if isinstance(error, TelnyxError):
        packed["reason"] = error.reason
        packed["about"] = {name: getattr(error, name) for name in _ABOUT if getattr(error, name, None) is not None}
    return packed


def checked_event(event: dict[str, Any] | None) -> dict[str, Any]:
    """
    Return what came from a trigger through Airflow's database, or raise the error it carries.

    :raises TelnyxPortingError: the error as packed, of its own class
    """
    if not isinstance(event, dict) or event.get("status") not in ("done", "error"):
        raise TelnyxPortingError("the trigger's event is malformed: expected a status of done or error")
    if event["status"] == "done":
        return event
    kind = getattr(errors, str(event.get("error_type")), None)
    if "about" in event and isinstance(kind, type) and issubclass(kind, TelnyxError):
        raise kind(event["reason"], **event["about"])
    raise TelnyxPortingError(f"{event.get('error_type')}: {event.get('message')}")


class PollingTrigger(BaseTrigger):
    """
    Look at Telnyx until there is something to say, and say it once.

    A bad poll is logged and followed by a longer pause; after ten in a row, or at once when another poll cannot help,
    the event carries the error. A trigger that raised would fail the task without saying why.

    :param telnyx_conn_id: connection of type ``telnyx``
    :param poll_interval: seconds between polls
    """

    def __init__(self, *, telnyx_conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.telnyx_conn_id = telnyx_conn_id
        self.poll_interval = poll_interval

    @abstractmethod
    async def look(self, client: AsyncTelnyxClient) -> dict[str, Any] | None:
        """Poll once; return what the event shall say, or None to go on."""

    def look_now(self) -> dict[str, Any] | None:
        """Poll once from a worker, which has no event loop."""
        hook = TelnyxHook(self.telnyx_conn_id)
        _ = hook.arguments  # read here: on the event loop it would block

        async def once() -> dict[str, Any] | None:
            async with hook.aclient() as client:
                return for_airflow(await self.look(client))  # type: ignore[no-any-return]

        return asyncio.run(once())

    async def run(self) -> AsyncIterator[TriggerEvent]:
        failures = 0
        while True:
            try:
                async with TelnyxHook(self.telnyx_conn_id).aclient() as client:
                    while True:
                        found = await self.look(client)
                        failures = 0
                        if found is not None:
                            yield TriggerEvent({"status": "done", **for_airflow(found)})
                            return
                        await asyncio.sleep(self.poll_interval)
            except Exception as error:  # whatever it is, the task must hear it
                failures += 1
                self.log.warning("Poll failed (%d in a row): %s", failures, error)
                if isinstance(error, FOR_GOOD) or failures >= MAX_FAILURES:
                    yield TriggerEvent(error_event(error))
                    return
            await asyncio.sleep(pause_after(failures, self.poll_interval))
