"""The receiver as a process: how it starts, what it survives, how it ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.exc import ProgrammingError

from telnyx_porting.flows.deliveries import outages
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries, feeds, windows
from tests.conftest import ROOT
from tests.support.ledgers import ledger, postgres_server, postgres_url  # noqa: F401  (fixtures)
from tests.support.receivers import (
    ACCOUNT,
    PATH,
    Running,
    Signer,
    encode,
    feed,
    new_sqlite,
    raw_request,
    read_all,
    receiver,
    stored,
    url_of,
    wait_for,
    webhook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("receiver-process")
SIGNER = Signer()
KEYS = [f"{ACCOUNT}={SIGNER.public}"]


@pytest.fixture
def file_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_sqlite(tmp_path) as handle:
        yield handle


def start(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "telnyx_porting.web.receiver", "--port", "0", "--counters-port", "0", *arguments]
    return subprocess.run(line, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False)


# -- starting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "url", "said"),
    [
        (["--key", KEYS[0]], "", "TELNYX_PORTING_LEDGER_URL = '' is not valid: sqlite:////"),
        (["--key", KEYS[0]], "mysql://x/y", "the ledger cannot live in 'mysql'"),
        (["--key", "a=short"], "sqlite:////tmp/x.db", "--key = 'a=short' is not valid: ACCOUNT=BASE64"),
        (["--key", ACCOUNT], "sqlite:////tmp/x.db", "--key = "),
        (["--key", f"={SIGNER.public}"], "sqlite:////tmp/x.db", "--key = "),
        (["--key", f"a/b={SIGNER.public}"], "sqlite:////tmp/x.db", "--key = "),
        (["--key", KEYS[0], "--ledger", "postgresql://u:hunter2@h/d"], "", "a URL without password"),
    ],
    ids=[
        "no ledger",
        "unknown ledger",
        "short key",
        "no sign",
        "no account",
        "odd account",
        "password in the arguments",
    ],
)
def test_impossible_arguments_end_it_with_one_sentence(arguments: list[str], url: str, said: str) -> None:
    ended = start(*arguments, TELNYX_PORTING_LEDGER_URL=url)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "hunter2" not in ended.stderr


def test_an_account_without_a_key_is_said_once_and_refused_and_the_others_go_on(file_ledger: Ledger) -> None:
    """Docker compose with an empty TELNYX_PUBLIC_KEY: an exit would be a restart for ever."""
    body = encode(webhook())
    with receiver(url_of(file_ledger), ["keyless=", *KEYS]) as running:
        refused = running.post(body, SIGNER.headers(body), "/webhooks/telnyx/keyless")
        unknown = running.post(body, SIGNER.headers(body), "/webhooks/telnyx/unknown")
        assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
        assert refused.status_code == 401
        assert running.post(body, SIGNER.headers(body)).status_code == 200
        assert running.get("/readyz").status_code == 200
        assert running.log().count("account keyless has no public key") == 1
        assert f"account {ACCOUNT} has" not in running.log()
    assert feed(file_ledger, "keyless")["refused"] == 1
    assert [row["account"] for row in stored(file_ledger, body)] == [ACCOUNT]


def test_a_receiver_without_any_key_refuses_everything(file_ledger: Ledger) -> None:
    body = encode(webhook())
    with receiver(url_of(file_ledger), [f"{ACCOUNT}="]) as running:
        assert running.post(body, SIGNER.headers(body)).status_code == 401
        assert running.get("/readyz").status_code == 200


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = start("--key", KEYS[0], "--port", port, TELNYX_PORTING_LEDGER_URL=f"sqlite:///{tmp_path}/l.db")
    assert ended.returncode == 2
    assert f"--port = '127.0.0.1:{port}' is not valid" in ended.stderr


def test_it_imports_no_airflow() -> None:
    code = "import sys, telnyx_porting.web.receiver; sys.exit(any(m.split('.')[0] == 'airflow' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def documented_rights() -> list[str]:
    """The statements that docs/operations.md prints for the receiver's role."""
    return re.findall(r"^ *(GRANT [^;]+;)", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)


@pytest.mark.postgres
def test_a_role_with_the_documented_rights_suffices_and_its_password_is_in_no_process_list(
    postgres_url: str,  # noqa: F811
) -> None:
    """It starts, takes and refuses webhooks, beats, finds its outage and answers /watch; what it must not do fails."""
    owner = Ledger(postgres_url)
    owner.upgrade()
    admin = create_engine(owner.url, isolation_level="AUTOCOMMIT")
    role = f"receiver_{os.getpid()}_{time.time_ns()}"
    url = owner.url.set(username=role, password="hunter2").render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"))
        ended = start("--key", KEYS[0], TELNYX_PORTING_LEDGER_URL=url)
        assert ended.returncode == 2
        assert ended.stderr.endswith("permission denied for table porting_ledger_version\n")
        for statement in documented_rights():
            connection.execute(text(statement.replace("receiver;", f"{role};")))
    body, forged = encode(webhook()), encode(webhook())
    try:
        with receiver(url, KEYS) as running:
            assert running.post(body, SIGNER.headers(body)).status_code == 200
            assert running.post(body, SIGNER.headers(body)).status_code == 200
            assert running.post(forged, Signer().headers(forged)).status_code == 401
            assert running.post(forged, SIGNER.headers(forged, str(int(time.time()) - 400))).status_code == 401
            assert running.get("/watch").status_code == 503
            shown = subprocess.run(["ps", "-ww", "-o", "args", "-p", str(running.process.pid)], capture_output=True)
            assert b"telnyx_porting.web.receiver" in shown.stdout
            assert b"hunter2" not in shown.stdout
            assert "hunter2" not in running.log()
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(10)
        assert stored(owner, body)
        assert not stored(owner, forged)
        assert feed(owner)["refused"] == 2
        assert feed(owner)["clock_offset"] < -390_000
        down = datetime.now(UTC) - timedelta(minutes=7)
        with owner.write() as connection:
            touch_feed(owner, connection, ACCOUNT, "receiver", heartbeat=down)
            touch_feed(owner, connection, ACCOUNT, "events", covered_until=datetime.now(UTC))
        with receiver(url, KEYS) as running:
            assert feed(owner)["heartbeat"] > down + timedelta(minutes=6)
            assert len(outages.read(feed(owner)["outages"])) == 1
            wait_for(lambda: running.get("/watch").status_code == 200)
        public = Ledger(url)
        for forbidden in (
            "UPDATE porting_feeds SET covered_until = 0, token = NULL",
            "INSERT INTO porting_feeds (account, source, covered_until) VALUES ('a new one', 'events', 0)",
            "SELECT user_id FROM porting_accounts",
            "UPDATE porting_deliveries SET ok = true",
            "DELETE FROM porting_deliveries",
            "SELECT payload FROM porting_events",
        ):
            with pytest.raises(ProgrammingError, match="permission denied"), public.write() as connection:
                connection.execute(text(forbidden))
        public.close()
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
        admin.dispose()
        owner.close()


# -- while it runs ----------------------------------------------------------------------------------------------------


def test_a_ledger_that_takes_no_write_means_503_in_time_and_nothing_promised(file_ledger: Ledger) -> None:
    bodies = [encode(webhook()) for _ in range(3)]
    with receiver(url_of(file_ledger), KEYS) as running:
        with file_ledger.write():  # somebody else writes, far too long
            begin = time.monotonic()
            assert running.post(bodies[0], SIGNER.headers(bodies[0])).status_code == 503
            assert 1.5 < time.monotonic() - begin < 2.0
            assert running.get("/healthz").status_code == 200
        wait_for(lambda: running.post(bodies[1], SIGNER.headers(bodies[1])).status_code == 200)
        assert stored(file_ledger, bodies[1])
        assert running.get("/readyz").status_code == 200


def test_webhooks_are_answered_in_time_beside_a_writer_that_never_stops(file_ledger: Ledger) -> None:
    """A backfill: one full transaction after the other."""
    over = threading.Event()

    def fill() -> None:
        number = 0
        now = datetime.now(UTC)
        while not over.is_set():
            rows = [
                {
                    "account": ACCOUNT,
                    "id": f"{number}-{n}",
                    "since": now,
                    "until": now,
                    "made_by": "scan",
                    "started_at": now,
                }
                for n in range(4000)
            ]
            with file_ledger.write() as connection:
                file_ledger.upsert(connection, windows, rows)
            file_ledger.breathe()
            number += 1

    with receiver(url_of(file_ledger), KEYS) as running:
        writer = threading.Thread(target=fill)
        writer.start()
        times = []
        try:
            for _ in range(40):
                body = encode(webhook())
                begin = time.monotonic()
                assert running.post(body, SIGNER.headers(body)).status_code == 200
                times.append(time.monotonic() - begin)
        finally:
            over.set()
            writer.join()
    assert max(times) < 1.5


@pytest.mark.postgres
def test_a_lost_database_means_503_and_not_ready_until_it_is_back(
    postgres_url: str,  # noqa: F811
    postgres_server: str,  # noqa: F811
) -> None:
    owner = Ledger(postgres_url)
    owner.upgrade()
    name = owner.url.database
    admin = create_engine(Ledger(postgres_server).url, isolation_level="AUTOCOMMIT")
    body = encode(webhook())
    with receiver(postgres_url, KEYS) as running, admin.connect() as connection:
        owner.close()
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        assert running.post(body, SIGNER.headers(body)).status_code == 503
        assert running.get("/readyz").text == "not ok"
        assert running.get("/healthz").status_code == 200
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        wait_for(lambda: running.post(body, SIGNER.headers(body)).status_code == 200)
        assert running.get("/readyz").text == "ok"
        assert "customer_reference" not in running.log()
    admin.dispose()
    assert stored(owner, body)
    owner.close()


def test_an_uptime_monitor_sees_a_watch_that_stands_still_and_no_names(file_ledger: Ledger) -> None:
    def read_until(account: str, until: datetime) -> None:
        with file_ledger.write() as connection:
            touch_feed(file_ledger, connection, account, "events", covered_until=until)

    now = datetime.now(UTC)
    with receiver(url_of(file_ledger), KEYS, environ={"TELNYX_PORTING_ACCOUNTS": f"{ACCOUNT},second"}) as running:
        never = running.get("/watch")
        assert never.status_code == 503
        assert "never" in never.text
        read_until(ACCOUNT, now)
        read_until("second", now - timedelta(hours=2))
        wait_for(lambda: "72" in running.get("/watch").text)  # an answer is kept for some seconds
        old = running.get("/watch")
        assert old.status_code == 503
        assert "never" not in old.text
        assert ACCOUNT not in old.text
        assert "second" not in old.text
        assert running.counter('telnyx_porting_watch_age_seconds{account="second"}') >= 7200
        read_until("second", now)
        wait_for(lambda: running.get("/watch").status_code == 200)


# -- ending and coming back -------------------------------------------------------------------------------------------


def test_sigterm_answers_what_is_being_received_and_then_ends(file_ledger: Ledger) -> None:
    body = encode(webhook())
    data = raw_request(body, SIGNER.headers(body))
    with receiver(url_of(file_ledger), KEYS) as running, running.connect() as connection, running.connect() as idle:
        connection.sendall(data[:-10])
        wait_for(lambda: running.counter("telnyx_porting_receiver_connections") >= 3)
        running.process.send_signal(signal.SIGTERM)
        assert read_all(idle) == b""
        wait_for(lambda: refuses(running))
        connection.sendall(data[-10:])
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
        answered = datetime.now(UTC)
        running.process.wait(10)
        assert "Traceback" not in running.log()
    assert stored(file_ledger, body)
    assert feed(file_ledger)["heartbeat"] > answered  # so that an outage begins when it ended


def refuses(running: Running) -> bool:
    try:
        running.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_outage_of_more_than_a_minute_is_known_afterwards_and_a_restart_is_none(ledger: Ledger) -> None:  # noqa: F811
    with receiver(url_of(ledger), KEYS) as running:
        running.kill()
    with receiver(url_of(ledger), KEYS):
        assert feed(ledger)["outages"] is None
    down = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=7)
    with ledger.write() as connection:
        connection.execute(update(feeds).values(heartbeat=down))
    begin = datetime.now(UTC)
    with receiver(url_of(ledger), KEYS) as running:
        ((since, until),) = outages.read(feed(ledger)["outages"])
        assert since == down
        assert begin <= until <= datetime.now(UTC)
        body = encode(webhook())
        assert running.post(body, SIGNER.headers(body)).status_code == 200
        assert outages.read(feed(ledger)["outages"]) == [(since, until)]


class Load(threading.Thread):
    """One sender on a connection of its own; keeps what it was told 200 for."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.accepted: list[bytes] = []

    def run(self) -> None:
        with suppress(httpx.TransportError), httpx.Client(base_url=self.running.url, timeout=10) as client:
            while True:
                body = encode(webhook())
                if client.post(PATH, content=body, headers=SIGNER.headers(body)).status_code == 200:
                    self.accepted.append(body)


def kill_under_load(ledger: Ledger, times: int) -> None:  # noqa: F811
    promised = 0
    for _ in range(times):
        with receiver(url_of(ledger), KEYS) as running:
            senders = [Load(running) for _ in range(8)]
            for sender in senders:
                sender.start()
            wait_for(lambda: sum(len(sender.accepted) for sender in senders) > 50)  # noqa: B023
            running.kill()
            for sender in senders:
                sender.join(15)
        accepted = {hashlib.sha256(body).hexdigest() for sender in senders for body in sender.accepted}
        with ledger.read() as connection:
            held = {one.rsplit(":", 1)[1] for one in connection.execute(select(deliveries.c.source_id)).scalars()}
        assert accepted <= held
        promised += len(accepted)
    assert len(held) >= promised > 50 * times


def test_what_was_answered_200_survives_a_kill(ledger: Ledger) -> None:  # noqa: F811
    kill_under_load(ledger, 2)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_what_was_answered_200_survives_fifty_kills(ledger: Ledger) -> None:  # noqa: F811
    kill_under_load(ledger, 50)
