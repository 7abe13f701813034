"""The SQLite contract, upgrades, and one sentence for every ledger that cannot be used."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import case, func, select, text

from telnyx_porting.errors import LedgerError
from telnyx_porting.ledger import files
from telnyx_porting.ledger.engine import HEAD, Ledger, excluded
from telnyx_porting.ledger.tables import events, feeds
from tests.support.places import ROOT

if TYPE_CHECKING:
    from tests.support.ledgers import OpenLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def modes(path: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}


def test_a_file_is_private_from_the_first_byte_and_so_are_sqlites_own(open_ledger: OpenLedger, path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = open_ledger(path)
        ledger.upgrade()
        with ledger.write() as connection:
            connection.execute(feeds.insert().values(account="a", source="events"))
            found = modes(path)
    finally:
        os.umask(before)
    assert found == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 384)


def test_a_file_that_others_could_read_becomes_private(open_ledger: OpenLedger, path: Path) -> None:
    open_ledger(path).upgrade()
    path.chmod(0o644)
    assert open_ledger(path).ready().version() == HEAD
    assert set(modes(path).values()) == {0o600}


def test_the_file_is_in_wal_mode_and_can_shrink(open_ledger: OpenLedger, path: Path) -> None:
    ledger = open_ledger(path).ready()
    with ledger.read() as connection:
        pragmas = {
            n: connection.exec_driver_sql(f"PRAGMA {n}").scalar()
            for n in ("journal_mode", "auto_vacuum", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "auto_vacuum": 2, "synchronous": 1}
    with open_ledger(path, durable=True).read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_whoever_only_looks_waits_for_no_writer(
    open_ledger: OpenLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a new process, whose first connection sets the file's modes."""
    monkeypatch.setattr(files, "LOCK_WAIT", 0)
    ledger = open_ledger(path).ready()
    with ledger.write() as connection:
        connection.execute(feeds.insert().values(account="a", source="events"))
        with open_ledger(path).ready().read() as looking:
            assert looking.execute(feeds.select()).all() == []


def test_a_writer_gets_its_turn_beside_one_that_never_stops(open_ledger: OpenLedger, path: Path) -> None:
    """A receiver beside a backfill: SQLite's own waiting would hardly ever ask in the gap."""
    ledger = open_ledger(path).ready()
    stop, waits = threading.Event(), []

    def busy() -> None:
        mine = open_ledger(path)
        while not stop.is_set():
            with mine.write() as connection:
                connection.execute(text("UPDATE porting_feeds SET error = 'x'"))
                time.sleep(0.1)
            mine.breathe()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for number in range(12):
            began = time.monotonic()
            with ledger.write() as connection:
                connection.execute(feeds.insert().values(account=str(number), source="events"))
            waits.append(time.monotonic() - began)
    finally:
        stop.set()
        thread.join()
    assert max(waits) < 1.5


def test_many_processes_may_upgrade_one_new_file_at_once(open_ledger: OpenLedger, path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_upgrade, args=(url(path),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert open_ledger(path).version() == HEAD


def _upgrade(address: str) -> None:
    with Ledger(address) as ledger:
        ledger.ready()


def test_an_engine_does_not_cross_a_fork(open_ledger: OpenLedger, path: Path) -> None:
    ledger = open_ledger(path).ready()
    mine = ledger.engine
    ledger._engine = (os.getpid() + 1, mine)
    assert ledger.engine is not mine
    mine.dispose()


def test_a_copy_is_made_while_somebody_writes(open_ledger: OpenLedger, path: Path, tmp_path: Path) -> None:
    ledger = open_ledger(path).ready()
    with open_ledger(path).write() as connection:
        connection.execute(feeds.insert().values(account="uncommitted", source="events"))
        ledger.back_up(tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM porting_feeds").fetchone() == (0,)
    with pytest.raises(LedgerError, match="there is no folder"):
        ledger.back_up(tmp_path / "nowhere" / "copy.db")


def test_an_older_file_is_copied_before_it_is_upgraded(open_ledger: OpenLedger, path: Path) -> None:
    ledger = open_ledger(path).ready()
    with ledger.write() as connection:
        connection.execute(text("UPDATE porting_ledger_version SET version_num = '0000'"))
    with pytest.raises(Exception, match="0000"):  # there never was such a version
        ledger.upgrade()
    assert path.with_name("ledger.db.0000.bak").exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p.parent / "nowhere" / "ledger.db", "cannot be written: there is no folder"),
        (lambda p: p.parent, "cannot be written: Is a directory"),
        (lambda p: Path("/proc/ledger.db"), "cannot be written"),
    ],
    ids=["no folder", "a folder", "not writable"],
)
def test_an_unwritable_path_is_one_sentence(open_ledger: OpenLedger, path: Path, make: object, sentence: str) -> None:
    with pytest.raises(LedgerError, match=sentence) as caught:
        open_ledger(make(path)).ready()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["feature%2Fporting", "100% (x)s %(here)s", "a:b;c d#e?f", "Łódź"])
def test_a_clone_and_a_ledger_may_have_any_path(tmp_path: Path, name: str) -> None:
    """The code below a folder of that name, and the ledger there too."""
    clone = tmp_path / name
    clone.mkdir()
    (clone / "plugins").symlink_to(ROOT / "plugins")
    if ":" in name:  # which PYTHONPATH cannot hold
        code = "import sys; sys.path.insert(0, 'plugins'); from telnyx_porting.__main__ import main; sys.exit(main())"
        program = ["-c", code]
    else:
        program = ["-m", "telnyx_porting"]
    address = f"sqlite:///{quote(str(clone / 'ledger.db'))}"
    done = subprocess.run(
        [sys.executable, *program, "--ledger", address, "upgrade"],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone / "plugins")},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == (f"the ledger is at version {HEAD}\n", 0), done.stderr
    assert (clone / "ledger.db").is_file()


def test_a_file_that_is_no_ledger_is_one_sentence(open_ledger: OpenLedger, path: Path) -> None:
    path.write_bytes(b"something else, and long enough to be looked at as a database" * 20)
    with pytest.raises(LedgerError, match="file is not a database"):
        open_ledger(path).ready()


def test_a_newer_ledger_says_to_update(open_ledger: OpenLedger, path: Path) -> None:
    ledger = open_ledger(path).ready()
    with ledger.write() as connection:
        connection.execute(text("UPDATE porting_ledger_version SET version_num = '9999'"))
    for call in (ledger.ready, ledger.upgrade):
        with pytest.raises(LedgerError, match=r"at version 9999, newer than this package's .*: update the package"):
            call()


@pytest.mark.parametrize(
    "address", ["mysql://root:secret@host/db", "sqlite://", "nonsense", "sqlite:///:memory:", "sqlite:///ledger.db"]
)
def test_an_impossible_url_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 63, 64, 500])
def test_an_upsert_is_the_same_however_many_rows_it_has(open_ledger: OpenLedger, path: Path, count: int) -> None:
    ledger = open_ledger(path).ready()
    rows = [{"account": "a", "source": f"s{n}", "refused": n} for n in range(count)]
    sevens = case((excluded("refused") >= 0, 7), else_=feeds.c.refused)
    for change in (None, {"refused": sevens}):
        with ledger.write() as connection:
            ledger.upsert(connection, feeds, [*rows, rows[0]], change=change)
    with ledger.read() as connection:
        counted = select(func.count()).select_from(feeds)
        assert connection.execute(counted).scalar_one() == count
        assert connection.execute(counted.where(feeds.c.refused == 7)).scalar_one() == count
        assert connection.execute(select(func.count()).select_from(events)).scalar_one() == 0
