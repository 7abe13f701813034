"""A real PgBouncer before the ledger's server: each transaction goes over whichever connection is free."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.ledger.urls import normalise
from tests.support.places import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def bouncer(url: str, connections: int = 2) -> Iterator[str]:
    """Run one in transaction mode in front of a database; yield the URL by which the database is reached through it."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt install pgbouncer)")
    server = normalise(url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=BUILD / "tmp") as folder:
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n{server.database} = host={server.host} port={server.port} user={server.username}"
            f" password={server.password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n"
            "max_client_conn = 100\n" + ("user = nobody\n" if os.geteuid() == 0 else "")
        )
        process = subprocess.Popen([program, "-q", file], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(process, port)
            yield server.set(port=port).render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("PgBouncer does not answer")
