"""Sensors that wait for an order's status or for an event. They look once before they defer."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from telnyx_porting.compat import task_state
from telnyx_porting.errors import FOR_GOOD, SettingsError, TelnyxError
from telnyx_porting.hooks.inputs import as_text, as_texts, as_time
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.operators import links
from telnyx_porting.triggers.polling import PollingTrigger, checked_event
from telnyx_porting.triggers.porting import TelnyxPortingEventTrigger, TelnyxPortingOrderStatusTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

__all__ = ["TelnyxPortingEventSensor", "TelnyxPortingOrderStatusSensor"]


class TelnyxSensor(BaseSensorOperator):
    """
    What the sensors share. ``timeout`` counts from the first try: a retry does not begin it anew, a clear does.

    Airflow 3.2 keeps nothing between tries: there a deferrable sensor's retry begins it anew, too.

    :param telnyx_conn_id: connection of type ``telnyx`` (templated)
    :param deferrable: wait in the triggerer instead of on a worker
    """

    operator_extra_links = links.ORDER

    def __init__(
        self,
        *,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.telnyx_conn_id = telnyx_conn_id
        self.deferrable = deferrable

    @abstractmethod
    def trigger(self) -> PollingTrigger:
        """Build the trigger that waits for the same; the sensor's own look is the trigger's."""

    @abstractmethod
    def result(self, found: dict[str, Any]) -> dict[str, Any]:
        """Turn what the trigger found into the task's result, or raise."""

    def poke(self, context: Context) -> PokeReturnValue:
        found = self.trigger().look_now()
        return PokeReturnValue(is_done=found is not None, xcom_value=self.result(found) if found else None)

    def execute(self, context: Context) -> Any:
        if not self.reschedule:  # rescheduling counts from the first try by itself
            self.timeout = self._left(context)
        if not self.deferrable:
            return super().execute(context)
        if self.timeout <= 0:
            message = "The deadline set by the first try of this sensor has passed."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        try:
            if looked := self.poke(context):
                return looked.xcom_value
        except TelnyxError as error:
            if isinstance(error, FOR_GOOD):
                raise
            self.log.warning("The first look failed, the trigger goes on looking: %s", error)
        self.defer(trigger=self.trigger(), method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Say what the trigger found, or raise the error it met."""
        return self.result(checked_event(event))

    def _left(self, context: Context) -> float:
        """Tell the seconds until the deadline, which the first try has written down."""
        # A clear raises max_tries, a retry does not: that tells a new beginning from another try.
        store, round_ = task_state(context), context["ti"].max_tries
        if store is None:
            return self.timeout
        now = datetime.now(UTC)
        written = store.get("deadline")
        if isinstance(written, dict) and written["round"] == round_:
            return (datetime.fromisoformat(str(written["at"])) - now).total_seconds()
        store.set("deadline", {"round": round_, "at": (now + timedelta(seconds=self.timeout)).isoformat()})
        return self.timeout


class TelnyxPortingOrderStatusSensor(TelnyxSensor):
    """
    Wait until a porting order has one of the statuses.

    Fails at once, without another try, when the order can no longer get there: it is cancelled, ported or deleted.
    An order in exception is waited for: it can be mended.

    :param porting_order_id: the order (templated)
    :param statuses: one status or several, such as ``foc-date-confirmed``; ``deleted`` for a draft that is gone
        (templated)
    :return: ``{"porting_order_id", "status"}``
    """

    template_fields: Sequence[str] = ("porting_order_id", "statuses", "telnyx_conn_id")

    def __init__(self, *, porting_order_id: str, statuses: str | list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.porting_order_id = porting_order_id
        self.statuses = statuses

    def trigger(self) -> PollingTrigger:
        return TelnyxPortingOrderStatusTrigger(
            porting_order_id=self.porting_order_id,
            statuses=self._wanted(),
            telnyx_conn_id=self.telnyx_conn_id,
            poll_interval=self.poke_interval,
        )

    def result(self, found: dict[str, Any]) -> dict[str, Any]:
        status, wanted = found.get("order_status"), self._wanted()
        if status not in wanted:
            # Not an error of ours: another try cannot help, and with soft_fail the task is skipped.
            raise AirflowFailException(
                f"order {self.porting_order_id} is {status} and can no longer become {' or '.join(wanted)}"
            )
        return {"porting_order_id": self.porting_order_id, "status": status}

    def _wanted(self) -> list[str]:
        return as_texts("statuses", self.statuses, "a status such as ported, or a list of them")


class TelnyxPortingEventSensor(TelnyxSensor):
    """
    Wait until there is an event that matches; at least one filter is needed.

    :param event_type: one type, such as ``porting_order.status_changed`` (templated)
    :param porting_order_id: events of this order (templated)
    :param created_at_gte: events created at this time or later; ISO 8601 with a zone (templated)
    :return: ``{"count", "event_ids"}``, with the ids of at most 100 of them
    """

    template_fields: Sequence[str] = ("event_type", "porting_order_id", "created_at_gte", "telnyx_conn_id")

    def __init__(
        self,
        *,
        event_type: str | None = None,
        porting_order_id: str | None = None,
        created_at_gte: datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_type = event_type
        self.porting_order_id = porting_order_id
        self.created_at_gte = created_at_gte

    def trigger(self) -> PollingTrigger:
        since = as_time("created_at_gte", self.created_at_gte)
        filters = {
            "event_type": as_text("event_type", self.event_type),
            "porting_order_id": as_text("porting_order_id", self.porting_order_id),
            "created_at_gte": since.isoformat() if since else None,
        }
        if not any(filters.values()):
            raise SettingsError(
                "event_type", None, "this, porting_order_id or created_at_gte must say what to wait for"
            )
        return TelnyxPortingEventTrigger(
            filters=filters, telnyx_conn_id=self.telnyx_conn_id, poll_interval=self.poke_interval
        )

    def result(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"count": found.get("count"), "event_ids": found.get("event_ids")}
