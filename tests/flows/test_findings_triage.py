"""What people do with a finding, from the command line too: all of it survives the next look."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.__main__ import LEDGER_URL, main
from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.status import listing, pick
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, write_note
from tests.support.found import MONDAY, desk, found
from tests.support.watched import Watched, order_id

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger, desk(), now=MONDAY)


def test_what_people_wrote_survives_the_next_look_and_the_next_turn(watched: Watched) -> None:
    key = f"exception:{order_id(1)}"
    for status in ("exception", "submitted", "exception"):
        watched.status(1, status)
        watched.look()
        watched.later(minutes=1)
        if status == "exception":
            take(Account(watched.ledger, watched.account), key, "bob", "ann")
            write_note(Account(watched.ledger, watched.account), key, "bob", "called the carrier")
            mute(
                Account(watched.ledger, watched.account, clock=lambda: watched.now),
                key,
                "ann",
                "known",
                watched.now + timedelta(days=1),
            )
    watched.look()
    with watched.ledger.read() as connection:
        (row,) = open_findings(connection, watched.account)
    assert (row["occurrence"], row["owner"], row["note"]) == (2, "ann", "called the carrier")
    assert (row["triage"]["muted_by"], row["triage"]["mute_reason"]) == ("ann", "known")
    who_did_what = [(by, did) for _, by, did, _ in row["triage"]["log"]]
    assert who_did_what == [("bob", "gave it to"), ("bob", "noted"), ("ann", "muted")] * 2


@pytest.mark.parametrize(
    ("until", "expected"),
    [(timedelta(days=15), "within 14 days"), (timedelta(0), "after now")],
)
def test_mute_has_a_reason_and_an_end(watched: Watched, until: timedelta, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        mute(
            Account(watched.ledger, watched.account, clock=lambda: watched.now),
            "exception:x",
            "ann",
            "known",
            watched.now + until,
        )
    with pytest.raises(ValueError, match="reason"):
        mute(
            Account(watched.ledger, watched.account, clock=lambda: watched.now),
            "exception:x",
            "ann",
            " ",
            watched.now + timedelta(1),
        )
    with pytest.raises(ValueError, match="the key of an open finding"):
        mute(
            Account(watched.ledger, watched.account, clock=lambda: watched.now),
            "exception:x",
            "ann",
            "known",
            watched.now + timedelta(1),
        )


def test_acknowledged_until_the_next_working_day(watched: Watched) -> None:
    watched.now = MONDAY + timedelta(days=4)  # Friday
    watched.status(1, "exception", "OTHER")
    watched.look()
    until = acknowledge(
        Account(watched.ledger, watched.account, watched.settings, lambda: watched.now),
        f"exception:{order_id(1)}",
        "ann",
    )
    assert until == MONDAY + timedelta(days=7)


# -- from the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def command(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A ledger that the command finds, with an exception and a question in it; the command's clock is the real one."""
    monkeypatch.setenv(LEDGER_URL, watched.ledger.url.render_as_string(hide_password=False))
    monkeypatch.setenv("TELNYX_PORTING_ALERT_DETAILS", "full")
    watched.status(1, "exception", "LOA_ILLEGIBLE")
    watched.status(2, "in-process")
    watched.comment(2, "admin", "Which suite number?", at=MONDAY + timedelta(minutes=1))
    watched.later(minutes=2)
    watched.look()
    return watched


def test_findings_are_listed_with_the_keys_that_the_commands_take(
    command: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["findings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["account telnyx_default: 2 open", f"high      exception:{order_id(1)}"]
    assert lines[2].strip().startswith("exception, branch-1 (sr_1).")
    assert "Next: upload a readable LOA, then confirm again." in lines[2]
    assert "[admin: Which suite number?]" in lines[4]


def test_question_is_acknowledged_by_its_orders_name(command: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acknowledge", "sr_2", "--by", "ann"]) == 0
    assert f"question:{order_id(2)}: acknowledged by ann until" in capsys.readouterr().out
    assert found(command, "question") == {}


def test_owner_note_and_mute(command: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    key = f"exception:{order_id(1)}"
    soon = "2126-01-01T00:00:00Z"
    assert main(["own", key, "ann"]) == 0
    assert main(["note", "branch-1", "called the carrier"]) == 0
    assert main(["mute", key, "--until", soon, "--reason", "known", "--by", "ann"]) == 1
    assert "within 14 days" in capsys.readouterr().err
    with command.ledger.read() as connection:
        (row,) = open_findings(connection, command.account, "exception")
    assert (row["owner"], row["note"], row["muted_until"]) == ("ann", "called the carrier", None)
    main(["findings"])
    assert "Owner: ann. Note: called the carrier. Who: us/customer." in capsys.readouterr().out


def test_name_that_is_none_or_several_is_one_sentence(command: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acknowledge", "nobody"]) == 1
    assert "finding = 'nobody'" in capsys.readouterr().err
    command.comment(1, "admin", "And the LOA?", at=command.now)
    command.later(minutes=1)
    command.look()
    with pytest.raises(SettingsError, match=f"one of exception:{order_id(1)}, question:{order_id(1)}"):
        pick(Account(command.ledger, command.account), "branch-1")


@pytest.mark.parametrize(
    ("zone", "until"),
    [
        ("UTC", "28 Sep 22:00 UTC"),
        ("Australia/Sydney", "29 Sep 08:00 AEST"),
        ("America/Los_Angeles", "28 Sep 15:00 PDT"),
    ],
)
def test_people_are_told_until_when_in_the_time_of_their_desk(watched: Watched, zone: str, until: str) -> None:
    now = datetime.fromisoformat("2026-09-28T10:00:00+00:00")
    watched.status(1, "exception")
    watched.look()
    own = watched.settings.model_copy(update={"business_zone": zone})
    account = Account(watched.ledger, watched.account, own, lambda: now)
    key = f"exception:{order_id(1)}"
    acknowledge(account, key, "ann", now + timedelta(hours=12))
    mute(account, key, "bob", "known", now + timedelta(hours=12))
    said = listing(account)
    assert f"acknowledged by ann until {until}" in said
    assert f"muted by bob until {until}: known" in said
