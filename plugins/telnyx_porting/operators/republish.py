"""Republish events without a ledger: paced, crash-safe, one outcome per id. Nobody looks whether they arrived."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from telnyx_porting.compat import NEVER_EXPIRE, task_state
from telnyx_porting.hooks.inputs import as_ids
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


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
