"""The webhook receiver, a process of its own and the only public part. It imports no Airflow.

``python -m telnyx_porting.web.receiver --key ACCOUNT=BASE64`` with the ledger's URL in ``TELNYX_PORTING_LEDGER_URL``.
It speaks plain HTTP: put a proxy that ends TLS in front of it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import logging
import os
import re
import socket
import sys
from collections.abc import Sequence

import uvicorn

from telnyx_porting.errors import LedgerError, SettingsError
from telnyx_porting.ledger.engine import Ledger, normalise
from telnyx_porting.web.receiver_app import Receiver
from telnyx_porting.web.receiver_store import Recorder

log = logging.getLogger("telnyx_porting.web.receiver")  # __name__ is "__main__" here
LEDGER_URL = "TELNYX_PORTING_LEDGER_URL"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; answer what has come in before leaving."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("telnyx_porting").setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        keys = read_keys(options.key)
        ledger = Ledger(_ledger_url(options.ledger), durable=True).ready()
        public = _listen("--port", options.host, options.port)
    except (SettingsError, LedgerError) as error:
        log.error("%s", error)
        return 2
    log.info("receiving webhooks of %s on http://%s:%d", ", ".join(keys), *public.getsockname()[:2])
    receiver = Receiver(keys, Recorder(ledger, tuple(keys)))
    server = uvicorn.Server(
        uvicorn.Config(
            receiver.app(), log_config=None, log_level="error", proxy_headers=False, server_header=False
        )
    )
    server.run(sockets=[public])
    ledger.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m telnyx_porting.web.receiver", description=__doc__)
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="ACCOUNT=BASE64",
        help="a public key of an account (Telnyx portal: Keys & Credentials); repeat it for more accounts, or for the"
        " old and the new key of one",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8788, help="port for webhooks (default %(default)s)")
    parser.add_argument(
        "--ledger", metavar="URL", help=f"the ledger, when its URL holds no password; else {LEDGER_URL}"
    )
    return parser


def read_keys(texts: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """Read ``ACCOUNT=BASE64`` into the keys of each account.

    :raises SettingsError: naming the text and what would be right.
    """
    keys: dict[str, tuple[bytes, ...]] = {}
    for text in texts:
        account, _, encoded = text.partition("=")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,250}", account) or len(key) != 32:
            raise SettingsError(
                "--key", text, "ACCOUNT=BASE64: a connection id and a public key of 32 bytes in base64"
            )
        keys[account] = (*keys.get(account, ()), key)
    return keys


def _ledger_url(argument: str | None) -> str:
    url = argument or os.environ.get(LEDGER_URL, "")
    if not url:
        raise SettingsError(
            LEDGER_URL, "", "the ledger's URL: sqlite:////path/to/ledger.db or postgresql://..."
        )
    if argument and normalise(argument).password is not None:
        raise SettingsError(
            "--ledger", "(not shown)", f"a URL without password, it would show in `ps`: set {LEDGER_URL}"
        )
    return url


def _listen(option: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(
            option, f"{host}:{port}", f"an address and port that are free ({error})"
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
