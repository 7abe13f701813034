"""The receiver as a process: what it survives, how it ends, and what it knows when it comes back."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import create_engine, select, text, update

from telnyx_porting.flows.feeds import read_outages, touch_feed
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries, feeds, windows
from tests.support.receivers import (
    ACCOUNT,
    PATH,
    Running,
    Signer,
    encode,
    feed,
    raw_request,
    read_all,
    receiver,
    stored,
    url_of,
    wait_for,
    webhook,
)

pytestmark = pytest.mark.xdist_group("receiver-process")
SIGNER = Signer()
KEYS = [f"{ACCOUNT}={SIGNER.public}"]


# -- while it runs -----------------------------------------------------------------------------------------------------


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
def test_a_lost_database_means_503_and_not_ready_until_it_is_back(postgres_url: str, postgres_server: str) -> None:
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
        assert running.get("/readyz").text == "not ok: the ledger takes no webhooks"
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


# -- ending and coming back --------------------------------------------------------------------------------------------


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


def test_an_outage_of_more_than_a_minute_is_known_afterwards_and_a_restart_is_none(ledger: Ledger) -> None:
    with receiver(url_of(ledger), KEYS) as running:
        running.kill()
    with receiver(url_of(ledger), KEYS):
        assert feed(ledger)["outages"] is None
    down = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=7)
    with ledger.write() as connection:
        connection.execute(update(feeds).values(heartbeat=down))
    begin = datetime.now(UTC)
    with receiver(url_of(ledger), KEYS) as running:
        ((since, until),) = read_outages(feed(ledger)["outages"])
        assert since == down
        assert begin <= until <= datetime.now(UTC)
        body = encode(webhook())
        assert running.post(body, SIGNER.headers(body)).status_code == 200
        assert read_outages(feed(ledger)["outages"]) == [(since, until)]


class Load(threading.Thread):
    """One sender on a connection of its own; keeps what it was told 200 for."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.accepted: list[bytes] = []

    def run(self) -> None:
        client = httpx.Client(base_url=self.running.url, timeout=10, verify=False)
        with suppress(httpx.TransportError), client:
            while True:
                body = encode(webhook())
                if client.post(PATH, content=body, headers=SIGNER.headers(body)).status_code == 200:
                    self.accepted.append(body)


def kill_under_load(ledger: Ledger, times: int) -> None:
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


def test_what_was_answered_200_survives_a_kill(ledger: Ledger) -> None:
    kill_under_load(ledger, 2)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_what_was_answered_200_survives_fifty_kills(ledger: Ledger) -> None:
    kill_under_load(ledger, 50)
