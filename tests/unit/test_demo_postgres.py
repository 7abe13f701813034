"""The demo's own PostgreSQL: alone behind its password, and gone afterwards, wherever it had to live."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from include.demo import postgres
from include.demo.ports import reserve
from include.demo.processes import RECORD, Processes
from tests.support.places import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(postgres.binaries() is None, reason="the PostgreSQL wheel has no build for this platform"),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user runs the server only where we are root")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter: pytest's own are private."""
    folder = BUILD / "tmp" / f"open-{os.getpid()}"
    folder.mkdir(0o755)
    yield folder
    shutil.rmtree(folder)


def folders() -> set[Path]:
    return set(Path("/tmp").glob(f"{postgres.PREFIX}*"))


def test_it_wants_its_password_and_listens_on_no_other_address(open_folder: Path) -> None:
    with reserve(usual=False) as ports, Processes(open_folder) as processes:
        server = postgres.start(processes, ports.postgres)
        assert server is not None
        with psycopg.connect(server.url()) as connection:
            row = connection.execute("SELECT current_setting('listen_addresses'), current_setting('server_encoding')")
            assert row.fetchone() == ("127.0.0.1", "UTF8")
        for wrong in (server.url().replace(server.password, "guessed"), server.url().replace(server.password, "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong)
        (data,) = open_folder.glob(f"{postgres.PREFIX}*")
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert [each.name for each in data.iterdir()] == ["data"]
    assert [each.name for each in open_folder.iterdir()] == ["logs"]


@as_root
def test_nobody_may_not_enter_its_home_nor_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone below /root, say: the server and its programs live in one folder elsewhere, and no mode is changed."""
    wheel = postgres.binaries()
    assert wheel is not None
    package = wheel.parent.parent
    site, home = tmp_path / "site", tmp_path / "home"
    shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("include", "pginstall"))
    shutil.copytree(package.with_name(f"{package.name}.libs"), site / f"{package.name}.libs")
    home.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("TMPDIR", str(home))
    tmp_path.chmod(0o700)
    before, modes = folders(), {each: each.stat().st_mode for each in (tmp_path, *tmp_path.parents)}
    with reserve(usual=False) as ports, Processes(home) as processes:
        server = postgres.start(processes, ports.postgres)
        assert server is not None
        assert str(site) in str(postgres.binaries())
        psycopg.connect(server.url()).close()
        (folder,) = folders() - before
        assert (folder.owner(), stat.S_IMODE(folder.stat().st_mode)) == ("nobody", 0o700)
        assert {each: each.stat().st_mode for each in modes} == modes
    assert folders() <= before


def test_a_server_that_was_killed_leaves_no_shared_memory(open_folder: Path) -> None:
    with reserve(usual=False) as ports, Processes(open_folder) as processes:
        assert postgres.start(processes, ports.postgres) is not None
        (folder,) = open_folder.glob(f"{postgres.PREFIX}*")
        segment = (folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in segments()
        (server,) = json.loads((open_folder / RECORD).read_text())["processes"]
        os.kill(server["pid"], signal.SIGKILL)
    assert segment not in segments()


def segments() -> set[str]:
    listed = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return {row[1] for line in listed.splitlines() if len(row := line.split()) > 5}


def test_where_the_wheel_is_not_there_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert postgres.binaries() is None
    with Processes(tmp_path) as processes:
        assert postgres.start(processes, 1) is None
