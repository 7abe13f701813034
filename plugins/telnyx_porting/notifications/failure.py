"""Tell people through the watch's own channels that a task failed: of the watch, or of any DAG."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from telnyx_porting.errors import MISTAKES
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)


class PortingAlertNotifier(BaseNotifier):
    """Open a `health` finding for the task that failed and send it to the configured channels; never raises.

    A mistake in the form of a run that a person started is not told: that person is there and sees it.

    ``on_failure_callback=PortingAlertNotifier()`` and ``on_success_callback=PortingAlertNotifier(over=True)``, on a
    task or in ``default_args``. Only ids of DAG, task and run are told; no template field carries event data.

    The ledger is the task's own where it has one; the channels are those of its account or, where that is none of the
    watched, of the first one.

    :param over: the task works again: clear its finding.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, over: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.over = over

    def notify(self, context: Context) -> None:
        """Tell, or take back; whatever goes wrong is logged: a callback must not make a failure worse."""
        try:
            self._notify(context)
        except Exception as error:  # see above
            what = "end of the failure" if self.over else "failure"
            log.warning("the %s could not be told: %s", what, type(error).__name__)

    def _notify(self, context: Context) -> None:
        from telnyx_porting.flows.account import Account

        if not self.over and _is_mistake(context):
            return
        task, operator = context["ti"], context.get("task")
        own = getattr(operator, "telnyx_conn_id", None)
        accounts = load_settings().accounts
        account = own if own in accounts else accounts[0]
        with TelnyxLedgerHook(getattr(operator, "ledger_conn_id", DEFAULT_CONN_ID)).get_ledger() as ledger:
            self._write(Account(ledger, account, load_settings(account)), own, task)

    def _write(self, account: Account, own: str | None, task: Any) -> None:
        # With one that is invalid every task fails, and this says why once for all of them.
        from telnyx_porting.flows.alerts.send import send_due
        from telnyx_porting.flows.findings.health import tell
        from telnyx_porting.notifications.deliver import deliver

        tell(account, "settings", next(map(str, account.settings.problems), None))
        subject = f"dag:{task.dag_id}.{task.task_id}"
        if account.id != own and task.map_index not in (None, -1):  # one of several that tell the same account
            subject += f"[{task.map_index}]"
        text = None if self.over else f"task {task.task_id} of DAG {task.dag_id} failed (run {task.run_id})"
        tell(account, subject, text)
        if text:
            send_due(account, deliver)


def _is_mistake(context: Context) -> bool:
    """Whether somebody who is there asked for what cannot be done."""
    run = context.get("dag_run")
    return isinstance(context.get("exception"), MISTAKES) and getattr(run, "run_type", "") == "manual"
