"""The form of `porting_republish`: typed, in sections, with words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Param

from telnyx_porting.flows.plan_select import CONSENTS
from telnyx_porting.models import EVENT_TYPES

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

WHAT = "What: leave all of it empty for what the watch found missed"
CONSENT_WORDS = {
    "arrived": "have arrived already (sent again)",
    "pending": "are not due yet, or cannot be judged",
    "email_only": "cause mails only",
    "given_up": "were given up",
    "superseded": "are superseded (the order has moved on)",
    "deleted": "are deletions",
    "undetermined": "are undetermined (before the watch, or unclear)",
}
UUID = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"


def republish_form(knobs: Settings) -> dict[str, Param]:
    """Return the params of a DAG that republishes by hand.

    :param knobs: settings; the accounts to choose from.
    """
    return {
        "account": Param(knobs.accounts[0], enum=list(knobs.accounts), title="Account", section="Which account"),
        "event_ids": Param(
            [],
            type="array",
            items={"type": "string", "pattern": UUID},
            title="These events",
            section=WHAT,
            description="Ids of porting events, one a line.",
        ),
        "porting_order_id": Param(
            None,
            type=["null", "string"],
            pattern=UUID,
            title="Or: all events of this order",
            section=WHAT,
        ),
        "event_type": Param(
            None,
            type=["null", "string"],
            enum=[None, *sorted(EVENT_TYPES)],
            values_display={name: name.rpartition(".")[2].replace("_", " ") for name in sorted(EVENT_TYPES)},
            title="Or: all events of this type",
            section=WHAT,
            description="Needs both times.",
        ),
        "created_from": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="... created from",
            section=WHAT,
        ),
        "created_to": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="... created to",
            section=WHAT,
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            section="Care",
            description="Say what would be sent and to whom; send nothing, store nothing.",
        ),
        "consents": Param(
            [],
            type="array",
            items={"type": "string", "enum": list(CONSENTS)},
            examples=list(CONSENTS),
            values_display=CONSENT_WORDS,
            title="Also send events that",
            section="Care",
            description="The watch never sends these by itself. Republishing also mails every subscribed address.",
        ),
        "reason": Param(
            "asked for by a person",
            type="string",
            maxLength=200,
            title="Reason",
            section="Care",
            description="Shown to whoever approves, and in the report.",
        ),
        "plan_id": Param(
            None,
            type=["null", "string"],
            pattern=UUID,
            title="Continue this plan",
            section="An open plan",
            description="What it sent is looked at; what it has not sent is sent. `What` and `Care` are not used.",
        ),
        "close": Param(
            False,
            type="boolean",
            title="Close it instead",
            section="An open plan",
            description="What it has not sent is dropped.",
        ),
    }
