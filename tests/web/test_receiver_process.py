"""The receiver as a process: how it starts, and with which rights it can do its work."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from telnyx_porting.flows.feeds import read_outages, touch_feed
from telnyx_porting.ledger.engine import Ledger
from tests.support.places import ROOT
from tests.support.receivers import (
    ACCOUNT,
    OTHER,
    Signer,
    encode,
    feed,
    receiver,
    stored,
    url_of,
    wait_for,
    webhook,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("receiver-process")
SIGNER = Signer()
KEYS = [f"{ACCOUNT}={SIGNER.public}"]


def start(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "telnyx_porting.web.receiver", "--port", "0", "--counters-port", "0", *arguments]
    return subprocess.run(line, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "url", "said"),
    [
        (["--key", KEYS[0]], "", "TELNYX_PORTING_LEDGER_URL = '' is not valid: sqlite:////"),
        (["--key", KEYS[0]], "mysql://x/y", "the ledger cannot live in 'mysql'"),
        (["--key", "a=short"], "sqlite:////tmp/x.db", "--key = 'a=short' is not valid: ACCOUNT=BASE64"),
        (["--key", ACCOUNT], "sqlite:////tmp/x.db", "--key = "),
        (["--key", f"={SIGNER.public}"], "sqlite:////tmp/x.db", "--key = "),
        (["--key", f"a/b={SIGNER.public}"], "sqlite:////tmp/x.db", "--key = "),
        ([], "sqlite:////tmp/x.db", "TELNYX_PORTING_RECEIVER_KEYS = '' is not valid: ACCOUNT=BASE64"),
        (["--key", KEYS[0], "--ledger", "postgresql://u:hunter2@h/d"], "", "a URL without password"),
    ],
    ids=[
        "no ledger",
        "unknown ledger",
        "short key",
        "no sign",
        "no account",
        "odd account",
        "no key at all",
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
    """Docker compose with an empty TELNYX_PUBLIC_KEYS: an exit would be a restart for ever."""
    body = encode(webhook())
    with receiver(url_of(file_ledger), ["keyless=", *KEYS]) as running:
        refused = running.post(body, SIGNER.headers(body), "/webhooks/telnyx/keyless")
        unknown = running.post(body, SIGNER.headers(body), "/webhooks/telnyx/unknown")
        assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
        assert refused.status_code == 401
        assert running.post(body, SIGNER.headers(body)).status_code == 200
        ready = running.get("/readyz")
        assert ready.status_code == 200
        assert ready.text == "ok, but 1 of 2 accounts have no public key: their webhooks are refused"
        assert running.log().count("account keyless has no public key") == 1
        assert f"account {ACCOUNT} has" not in running.log()
    assert feed(file_ledger, "keyless")["refused"] == 1
    assert [row["account"] for row in stored(file_ledger, body)] == [ACCOUNT]


def test_a_receiver_without_any_key_refuses_everything(file_ledger: Ledger) -> None:
    body = encode(webhook())
    with receiver(url_of(file_ledger), [f"{ACCOUNT}="]) as running:
        assert running.post(body, SIGNER.headers(body)).status_code == 401
        ready = running.get("/readyz")
        assert ready.status_code == 503
        assert ready.text == "not ok: 1 of 1 accounts have no public key: their webhooks are refused"
        assert running.get("/healthz").text == "ok"


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n"])
def test_the_environment_brings_any_number_of_keys(file_ledger: Ledger, separator: str) -> None:
    """Several accounts, and both keys of one while the new replaces the old."""
    new, other = Signer(), Signer()
    keys = [*KEYS, f"{ACCOUNT}={new.public}", f"{OTHER}={other.public}"]
    body = encode(webhook())
    with receiver(url_of(file_ledger), [], environ={"TELNYX_PORTING_RECEIVER_KEYS": separator.join(keys)}) as running:
        assert running.get("/readyz").text == "ok"
        for signer, account in ((SIGNER, ACCOUNT), (new, ACCOUNT), (other, OTHER)):
            assert running.post(body, signer.headers(body), f"/webhooks/telnyx/{account}").status_code == 200
        assert running.post(body, other.headers(body)).status_code == 401
        assert "is not valid" not in running.log()


def test_keys_of_the_command_line_stand_in_for_those_of_the_environment(file_ledger: Ledger) -> None:
    stranger, body = Signer(), encode(webhook())
    variables = {"TELNYX_PORTING_RECEIVER_KEYS": f"{ACCOUNT}={stranger.public}"}
    with receiver(url_of(file_ledger), KEYS, environ=variables) as running:
        assert running.post(body, stranger.headers(body)).status_code == 401
        assert running.post(body, SIGNER.headers(body)).status_code == 200


def test_counters_can_be_asked_from_elsewhere_where_that_is_wanted(file_ledger: Ledger) -> None:
    with receiver(url_of(file_ledger), KEYS, "--counters-host", "0.0.0.0") as running:
        assert running.counters.startswith("http://0.0.0.0:")
        assert running.counter("telnyx_porting_receiver_ready") == 1
        assert running.get("/metrics").status_code == 404


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
def test_a_role_with_the_documented_rights_suffices_and_its_password_is_in_no_process_list(postgres_url: str) -> None:
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
            assert len(read_outages(feed(owner)["outages"])) == 1
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


@pytest.mark.parametrize("missing", ["httptools", "starlette", "uvicorn"])
def test_what_is_not_installed_is_named_in_one_sentence(missing: str) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None;"
        "runpy.run_module('telnyx_porting.web.receiver', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    sentence = f"the receiver needs {missing}: pip install 'airflow-provider-telnyx-porting[receiver]'"
    assert done.stderr.strip() == sentence
