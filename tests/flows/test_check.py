"""`check`: a first answer on an account, over real sockets, whole output and all; it reads and never sends."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telnyx_porting.__main__ import main
from tests.support.places import ROOT

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STATUS, COMMENT = "porting_order.status_changed", "porting_order.new_comment"
BEGIN = 3 * DAY + HOUR  # before now: the oldest delivery record


class Street:
    """An account with one order of each trouble, and comments whose webhooks fared differently."""

    def __init__(self, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.sandbox, self._capsys = sandbox, capsys
        sandbox.reset("empty", seed=7)
        sandbox.control("DELETE", "/switches")
        sandbox.clear_faults()
        sandbox.delivery_rules(retry_delays=[])
        self.now = datetime.now(UTC)
        for name, value in {"TELNYX_API_KEY": sandbox.api_key, "TELNYX_PORTING_REQUESTS_PER_SECOND": "1000"}.items():
            monkeypatch.setenv(name, value)

    def in_trouble(self) -> None:
        """One rejected, one that nobody looks after, one that is asked something, one whose event is stuck."""
        self._told("rejected", "exception", 2 * DAY, codes=["POSTAL_CODE_MISMATCH"])
        self._told("forgotten", "submitted", 13 * DAY)
        asked = self._told("asked", "in-process", 13 * DAY)
        self.comment(asked, 12 * DAY, body="Please send the last invoice.")
        stuck = self._told("stuck", "in-process", 6 * HOUR)
        self._insert(stuck, COMMENT, 5 * HOUR, completed=False)

    def _told(self, name: str, status: str, ago: timedelta, **fields: Any) -> str:
        order = self.sandbox.order(customer_reference=name, status=status, **fields)
        details = [{"code": code, "description": ""} for code in fields.get("codes", [])]
        at = (self.now - ago).isoformat()
        said = {"id": order, "customer_reference": name, "status": {"value": status, "details": details}}
        self._insert(order, STATUS, ago, payload={**said, "updated_at": at, "webhook_url": None})
        return order

    def comment(self, order: str, ago: timedelta, body: str = "Noted.", author: str = "admin", **fields: Any) -> str:
        """Let a comment be written so long ago; whatever webhooks it has are tried now."""
        at = (self.now - ago).isoformat()
        comment = {"body": body, "user_type": author, "user_id": None, "inserted_at": at}
        comment["id"] = order[:-6] + f"{int(ago.total_seconds()):06x}"
        payload = {"porting_order_id": order, "comment": comment}
        return self._insert(order, COMMENT, ago, payload=payload, **fields)

    def _insert(self, order: str, kind: str, ago: timedelta, **fields: Any) -> str:
        at = (self.now - ago).isoformat()
        (row,) = self.sandbox.insert({"order_id": order, "type": kind, "created_at": at, "updated_at": at, **fields})
        return str(row["id"])

    def notify(self, *urls: str) -> None:
        """Send some comments of ours to these URLs: two arrive, one fails, one is lost; records begin 3 days ago."""
        self.sandbox.subscribe(*urls)
        order = self.sandbox.order(customer_reference="told", status="submitted")
        self.comment(order, BEGIN, author="user", notify=True)
        self.comment(order, 2 * DAY, author="user", notify=True)
        self.comment(order, 30 * HOUR, author="user", notify=True, fate={"fail": 9})
        self.comment(order, 29 * HOUR, author="user", notify=True, fate={"drop": True})
        self.comment(order, 5 * DAY, author="user")
        self.sandbox.settle()
        for record in self.records():
            told = record["webhook"]["payload"]["comment"]["inserted_at"]
            at = (datetime.fromisoformat(told) + timedelta(seconds=1)).isoformat()
            tries = [{**each, "started_at": at, "finished_at": at} for each in record["attempts"]]
            row = {"started_at": at, "finished_at": at, "attempts": tries}
            self.sandbox.fault("odd_row", row_id=record["id"], row=row, times=None)

    def records(self) -> list[dict[str, Any]]:
        """The delivery records, as the API shows them."""
        url = f"{self.sandbox.base_url}/webhook_deliveries?page[size]=250"
        records: list[dict[str, Any]] = httpx.get(url, headers=self.sandbox.headers).json()["data"]
        return records

    def check(self, *arguments: str, status: int = 0) -> str:
        """Run the command; return what it says, with every time and address replaced."""
        self.sandbox.forget_requests()
        assert main(["check", "--base-url", self.sandbox.base_url, *arguments]) == status, self._capsys.readouterr()
        requests = self.sandbox.requests()
        assert {name.split()[0] for name in requests["counts"]} == {"GET"}
        assert requests["total"] <= 120
        said = self._capsys.readouterr().out
        said = said.replace(self.sandbox.origin, "URL").replace(f"{requests['total']} requests", "N requests")
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", said)
        said = re.sub(r"sr_\w+", "sr", said)
        said = re.sub(r"in \d+ working days", "in N working days", said)
        said = re.sub(r"\d+ [A-Z][a-z]{2}\b", "DAY", said)
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", said)

    @property
    def said_aside(self) -> str:
        """What was said on stderr since the last look."""
        return self._capsys.readouterr().err


@pytest.fixture
def street(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Street:
    return Street(sandbox, monkeypatch, capsys)


def wanted(name: str) -> str:
    return (Path(__file__).parent / "checks" / f"{name}.txt").read_text()


def test_an_account_whose_records_show_port_ins(street: Street) -> None:
    street.in_trouble()
    street.notify(street.sandbox.sink_url())
    assert street.check() == wanted("records")
    assert street.said_aside == ""


def test_an_account_without_delivery_records(street: Street) -> None:
    street.in_trouble()
    street.sandbox.switches(deliveries_cover="no_port_ins")
    street.notify(street.sandbox.sink_url())
    assert street.check("--days", "5") == wanted("no_records")


def test_an_account_that_answers_differently(street: Street) -> None:
    street.sandbox.switches(
        event_order="-created_at", delivery_order="started_at", page_size_over_max="capped", webhook_id="unrelated"
    )
    street.notify(street.sandbox.sink_url(), street.sandbox.sink_url(204))
    assert street.check() == wanted("other_habits")


def test_more_than_half_without_a_trace_is_no_list_of_lost_ones(street: Street) -> None:
    street.notify(street.sandbox.sink_url())
    order = street.sandbox.order()
    for minutes in range(5):
        street.comment(order, 20 * HOUR + minutes * HOUR)
    said = street.check()
    assert "6 left no trace in delivery records" in said
    assert "the records do not seem to cover port-ins, so none is named" in said
    assert "no trace  " not in said


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({"list_meta": "no_totals"}, "yes  every event of 1 day was read: twice, and both times the same"),
        ({"list_meta": "absent"}, "yes  every event of 1 day was read: twice, and both times the same"),
        ({"event_retention_days": 4}, "events are kept            at least 3 days: the oldest seen is from TIME"),
        ({"error_body": "empty"}, "cannot be told, there are fewer than 250; 251 are refused"),
        ({"page_size_over_max": "capped"}, "cannot be told, there are fewer than 250; 251 give a page of 250"),
        ({"event_order": "-created_at"}, "order of events            newest first"),
        ({"webhook_id": "unrelated"}, "its event's 0 times, one of its own 3 times"),
    ],
)
def test_what_the_documentation_leaves_open(street: Street, switches: dict[str, Any], words: str) -> None:
    """Of a list that counts nothing one day is read: how long it is cannot be known before."""
    street.sandbox.switches(**switches)
    street.notify(street.sandbox.sink_url())
    counts = "list_meta" not in switches
    said = street.check(status=0 if counts else 2)
    assert words in said
    assert ("NOT READ: delivery records: " in said) is not counts


def test_very_many_events_take_no_more_than_a_minute_of_requests(street: Street) -> None:
    """At two a second; `Street.check` holds the bound."""
    street.sandbox.reset("volume", events=100_000)
    street.sandbox.switches(event_retention_days=50)
    said = street.check("--days", "90")
    assert "events of 22 days (not 90: there are too many events for a first look)" in said
    assert "at least 49 days: the oldest seen is from TIME; none is listed from before, though the oldest order" in said
    assert "rows on a page             250 where 250 are asked for; 251 are refused" in said


def test_what_may_not_be_read_is_said_and_the_rest_is_read(street: Street) -> None:
    street.in_trouble()
    street.sandbox.fault("status", path="/v2/webhook_deliveries", status=403, times=None)
    street.sandbox.fault("status", path="/v2/porting_orders*", status=403, times=None)
    said = street.check(status=2)
    assert "NOT READ: delivery records: 403: the API key may not read them" in said
    assert "NOT READ: orders: 403: the API key may not read them" in said
    assert "1 exception" in said  # its event tells


def test_a_row_that_cannot_be_read_is_no_proof(street: Street) -> None:
    order = street.sandbox.order()
    event = street.comment(order, 5 * HOUR)
    street.sandbox.fault("odd_row", row_id=event, without=["id"], times=None)
    assert "  no  every event of 14 days was read: " in street.check(status=2)


def test_a_wrong_key(street: Street, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", "KEY_WRONG")
    shapes = tmp_path / "shapes.json"
    assert street.check("--shapes", str(shapes), status=1) == ""
    assert json.loads(shapes.read_text()).keys() == {"GET /porting/events: 401"}


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (["--base-url", "{url}"], "KEY_WRONG", "401: Telnyx does not accept this API key. Put a valid v2 key into"),
        (["--base-url", "{url}"], "", "TELNYX_API_KEY"),
        (["--base-url", "{url}"], "two words", "api_key"),
        (["--base-url", "http://127.0.0.1:1/v2"], "KEY", "No connection: nothing listens there, or it is blocked."),
        (["--base-url", "https://nowhere.invalid/v2"], "KEY", "DNS failed: the host name cannot be resolved."),
        (["--base-url", "http://telnyx.com/v2"], "KEY", "the public API is not spoken to in the clear"),
    ],
)
def test_what_went_wrong_in_one_sentence(
    street: Street, monkeypatch: pytest.MonkeyPatch, arguments: list[str], key: str, words: str
) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", key)
    assert main(["check", *(each.format(url=street.sandbox.base_url) for each in arguments)]) == 1
    last = street.said_aside.splitlines()[-1]
    assert words in last
    assert key == "" or key not in last.removesuffix("KEY").split()


@pytest.mark.parametrize("days", ["0", "91", "-1", "x", "1.5"])
def test_impossible_days_are_refused(street: Street, days: str) -> None:
    with pytest.raises(SystemExit):
        main(["check", f"--days={days}"])
    assert "is not a number of days from 1 to 90" in street.said_aside


def test_a_file_that_cannot_be_written_is_said_before_anything_is_read(street: Street, tmp_path: Path) -> None:
    street.sandbox.forget_requests()
    with pytest.raises(SystemExit):
        main(["check", "--base-url", street.sandbox.base_url, "--shapes", str(tmp_path)])
    assert f"'{tmp_path}' cannot be written: Is a directory" in street.said_aside
    assert street.sandbox.requests()["total"] == 0


def test_it_needs_no_airflow_and_leaves_nothing_behind(street: Street, tmp_path: Path) -> None:
    street.notify(street.sandbox.sink_url())
    program = (
        "import sys; sys.path.insert(0, 'plugins'); from telnyx_porting.__main__ import main; code = main();"
        " assert not [name for name in sys.modules if name.split('.')[0] == 'airflow']; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "check", "--base-url", street.sandbox.base_url],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"asking {street.sandbox.base_url} how many events there are\nreading the events of")
    assert list(tmp_path.iterdir()) == []
    assert street.sandbox.republishes() == []


def test_at_a_terminal_the_key_is_asked_for_and_never_shown(street: Street) -> None:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "TELNYX_API_KEY"}
    command = [sys.executable, "-m", "telnyx_porting", "check", "--base-url", street.sandbox.base_url]
    with subprocess.Popen(
        command, env=env, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while not shown.endswith(b"Telnyx API key (v2): "):
            shown += os.read(ours, 1024)
        os.write(ours, f"{street.sandbox.api_key}\n".encode())
        with suppress(OSError):  # which is how a terminal ends
            while more := os.read(ours, 1024):
                shown += more
        said = process.communicate(timeout=120)[0]
    os.close(ours)
    assert (process.returncode, street.sandbox.api_key in f"{shown!r}{said}") == (0, False), shown
    assert said.startswith(f"{street.sandbox.base_url}: "), said
