"""Operators that need no ledger: they list events, get one, and have some sent again."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ObjectStoragePath

from telnyx_porting.compat import NEVER_EXPIRE, task_state
from telnyx_porting.errors import SettingsError
from telnyx_porting.hooks.inputs import as_ids, as_text, as_time
from telnyx_porting.hooks.outputs import for_airflow, json_line
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.operators import links

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from telnyx_porting.models.events import PortingEvent

NEW_OBJECTS = 100_000
"""For which the garbage collector waits: somewhat more than the rows that a listing holds are made of."""


@contextmanager
def patient_collector() -> Iterator[None]:
    """
    Let the cyclic garbage collector of this task's process wait longer.

    A listing makes millions of objects, all freed by counting. Yet after 700 new ones (2,000 in newer Pythons) the
    collector looks through the young, and after some of these through all, which in a process as large as Airflow's
    takes half of a listing's time. Source: the documentation of Python's ``gc`` module, ``set_threshold``.
    """
    usual = gc.get_threshold()
    if usual[0]:  # zero: it is switched off
        gc.set_threshold(max(NEW_OBJECTS, usual[0]), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def event_facts(event: PortingEvent, *, include_payload: bool = False) -> dict[str, Any]:
    """Tell what is known of an event as JSON values; its payload is customer data and left out unless asked for."""
    facts: dict[str, Any] = {
        "id": event.id,
        "event_type": event.event_type,
        "porting_order_id": event.porting_order_id,
        "payload_status": event.payload_status,
        "available_notification_methods": list(event.available_notification_methods),
        "created_at": event.created_at.isoformat() if event.created_at else None,
        "updated_at": event.updated_at.isoformat() if event.updated_at else None,
    }
    if include_payload:
        facts["payload"] = event.payload
    return facts


class TelnyxListPortingEventsOperator(BaseOperator):
    """
    List port-in events; the result is complete or the task fails.

    Without ``output_path`` the facts go to XCom, up to ``max_items``. With it, they are written there as JSON Lines,
    one event a line, and only when the list is complete. The file holds texts exactly; in XComs, which cannot carry a
    NUL or half an emoji, such a character is U+FFFD.

    :param created_at_gte: events created at this time or later; ISO 8601 with a zone (templated)
    :param created_at_lte: events created at this time or earlier; default: now (templated)
    :param event_type: one type, such as ``porting_order.status_changed`` (templated)
    :param porting_order_id: events of one order (templated)
    :param include_payload: also the payloads; they hold customer data, and XComs are readable by everyone who may
        read the DAG
    :param max_items: most events for XCom; more fail the task instead of being cut
    :param output_path: file or object to write, as ``ObjectStoragePath`` takes it (templated)
    :param telnyx_conn_id: connection of type ``telnyx`` (templated)
    :return: a list of facts, or ``{"path": ..., "count": ...}``
    """

    template_fields: Sequence[str] = (
        "created_at_gte",
        "created_at_lte",
        "event_type",
        "porting_order_id",
        "output_path",
        "telnyx_conn_id",
    )
    operator_extra_links = links.ORDER

    def __init__(
        self,
        *,
        created_at_gte: datetime | str | None = None,
        created_at_lte: datetime | str | None = None,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        include_payload: bool = False,
        max_items: int = 1000,
        output_path: str | None = None,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.created_at_gte = created_at_gte
        self.created_at_lte = created_at_lte
        self.event_type = event_type
        self.porting_order_id = porting_order_id
        self.include_payload = include_payload
        self.max_items = max_items
        self.output_path = output_path
        self.telnyx_conn_id = telnyx_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]] | dict[str, Any]:
        with patient_collector(), TelnyxHook(self.telnyx_conn_id).get_client() as client:
            events = client.iter_porting_events(
                created_at_gte=as_time("created_at_gte", self.created_at_gte),
                created_at_lte=as_time("created_at_lte", self.created_at_lte),
                event_type=as_text("event_type", self.event_type),
                porting_order_id=as_text("porting_order_id", self.porting_order_id),
            )
            facts = (event_facts(event, include_payload=self.include_payload) for event in events)
            path = as_text("output_path", self.output_path)
            return self._write(facts, path) if path else self._collect(facts)

    def _collect(self, facts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        listed = [for_airflow(fact) for fact in islice(facts, self.max_items + 1)]
        if len(listed) > self.max_items:
            expected = "there are more events than that: narrow the filters, raise it, or set output_path"
            raise SettingsError("max_items", self.max_items, expected)
        self.log.info("Listed %d events.", len(listed))
        return listed

    def _write(self, facts: Iterable[dict[str, Any]], target: str) -> dict[str, Any]:
        path = ObjectStoragePath(target)
        count = 0
        # Kept aside until the list is proved complete: nobody ever finds half a list at the path.
        with tempfile.TemporaryFile() as aside:
            for count, fact in enumerate(facts, start=1):  # noqa: B007 (the last number is the count)
                aside.write(json_line(fact))
            aside.seek(0)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                shutil.copyfileobj(aside, out)
        self.log.info("Wrote %d events to %s.", count, target)
        return {"path": target, "count": count}


class TelnyxGetPortingEventOperator(BaseOperator):
    """
    Get one port-in event.

    :param event_id: the event (templated)
    :param include_payload: also the payload, which is customer data
    :param telnyx_conn_id: connection of type ``telnyx`` (templated)
    :return: the event's facts
    """

    template_fields: Sequence[str] = ("event_id", "telnyx_conn_id")
    operator_extra_links = links.ORDER

    def __init__(
        self,
        *,
        event_id: str,
        include_payload: bool = False,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_id = event_id
        self.porting_order_id: str | None = None
        self.include_payload = include_payload
        self.telnyx_conn_id = telnyx_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        with TelnyxHook(self.telnyx_conn_id).get_client() as client:
            event = client.get_porting_event(self.event_id)
        self.porting_order_id = event.porting_order_id  # for the link
        facts: dict[str, Any] = for_airflow(event_facts(event, include_payload=self.include_payload))
        return facts


class TelnyxRepublishPortingEventsOperator(BaseOperator):
    """
    Ask Telnyx to send the notifications of events again. Needs no ledger, and proves no arrival.

    Each id ends as ``accepted`` (Telnyx took the request), ``not_found``, ``refused``, ``unknown`` (the request may
    have been processed: no answer, 5xx, or the worker died) or ``not_sent``. One id never aborts the rest, but
    401, 403, and five 404 or five unknown outcomes in a row stop the batch and fail the task.

    Ids go out in the order given, one after the other, as many a second as the setting ``republish_per_second`` says
    (1): it protects whoever gets the webhooks. What does not fit into the task's ``execution_timeout`` is the retry's.

    Crash-safe: each id is written to the task's state store before its request and after the answer. A retry goes on
    where the last try was; an id that was on its way comes back ``unknown`` and is not sent again unless
    ``resend_unknown``; a finished task that is cleared sends nothing again unless ``force``. A mapped task that is
    cleared and then holds other ids cannot know what other map indexes sent: ids new to it are ``unknown``.
    Airflow 3.2 has no state store: there no later try (a retry, or a clear, whatever ``force`` says) knows what was
    sent, so all ids are ``unknown`` and none is sent again unless ``resend_unknown``.

    :param event_ids: ids, or events with an ``id`` as the list operator returns them (templated)
    :param resend_unknown: send ids of unknown outcome again; the consumer may get a notification twice
    :param force: send everything again when a finished task is cleared
    :param telnyx_conn_id: connection of type ``telnyx`` (templated)
    :return: ``{"counts": {outcome: number}, "outcomes": {id: outcome}}``
    """

    template_fields: Sequence[str] = ("event_ids", "telnyx_conn_id")

    def __init__(
        self,
        *,
        event_ids: list[str] | str,
        resend_unknown: bool = False,
        force: bool = False,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_ids = event_ids
        self.resend_unknown = resend_unknown
        self.force = force
        self.telnyx_conn_id = telnyx_conn_id
        self._killed = False

    def on_kill(self) -> None:
        """Begin no further request: what is on its way is written down as unknown already."""
        self._killed = True

    def execute(self, context: Context) -> dict[str, Any]:
        from telnyx_porting.flows.republish.batch import LIST, Memory, send_batch

        ids = as_ids("event_ids", self.event_ids)
        pace = load_settings(self.telnyx_conn_id).require_valid().republish_per_second
        store, later_try = task_state(context), False
        if store is not None:
            # Not expiring: a task cleared after the store's 30 days must not send everything again.
            memory = Memory(store.get, partial(store.set, retention=NEVER_EXPIRE), store.clear)
        else:
            later_try = context["ti"].try_number > 1
            kept: dict[str, Any] = {LIST: {"ids": "", "finished": False}} if later_try else {}
            memory = Memory(kept.get, kept.__setitem__, kept.clear)
        with TelnyxHook(self.telnyx_conn_id).get_client(requests_per_second=pace) as client:
            outcomes = send_batch(
                client,
                ids,
                memory,
                resend_unknown=self.resend_unknown,
                force=self.force,
                mapped=later_try or context["ti"].map_index not in (None, -1),
                go_on=lambda: not self._killed,
            )
        told = {event_id: outcome.value for event_id, outcome in outcomes.items()}
        return {"counts": dict(Counter(told.values())), "outcomes": told}
