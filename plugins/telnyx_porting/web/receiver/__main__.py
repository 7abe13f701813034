"""The webhook receiver: a process of its own, the only public one. It imports no Airflow.

``python -m telnyx_porting.web.receiver --key ACCOUNT=BASE64``, the ledger's URL in ``TELNYX_PORTING_LEDGER_URL``.
Keys come from ``TELNYX_PORTING_RECEIVER_KEYS`` where no ``--key`` is given. It speaks plain HTTP: put a proxy that ends
TLS in front of it.
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
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sqlalchemy.exc import ProgrammingError

from telnyx_porting import settings
from telnyx_porting.errors import LedgerError, SettingsError
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import LEDGER_URL, ledger_url
from telnyx_porting.web.receiver.store import Recorder, Watch, describe

try:
    import uvicorn

    from telnyx_porting.web.receiver.app import Receiver
    from telnyx_porting.web.receiver.guard import Guard
except ModuleNotFoundError as error:
    missing = str(error.name).partition(".")[0]
    if missing not in ("httptools", "starlette", "uvicorn"):
        raise
    needed = f"the receiver needs {missing}: pip install 'airflow-provider-telnyx-porting[receiver]'"
    raise SystemExit(needed) from None

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import URL

log = logging.getLogger("telnyx_porting.web.receiver")  # __name__ is "__main__" here
KEYS = "TELNYX_PORTING_RECEIVER_KEYS"  # the environment's word on the keys, as many as one likes
_KEEP_ALIVE = 75  # seconds; longer than a proxy keeps an idle connection, so that the proxy closes it
_DRAIN = 5  # seconds for what is being received when SIGTERM comes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, and answer what has come in by then.

    :return: exit status.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("telnyx_porting").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it logs each bad request
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        return _run(options, stack)


def _run(options: argparse.Namespace, stack: ExitStack) -> int:
    try:
        of_environment = os.environ.get(KEYS, "").replace(",", " ").split()
        keys = read_keys("--key", options.key) if options.key else read_keys(KEYS, of_environment)
        ledger = stack.enter_context(Ledger(_ledger_url(options.ledger), durable=True)).ready()
        public = stack.enter_context(_listen("--port", options.host, options.port))
        counters = stack.enter_context(_listen("--counters-port", options.counters_host, options.counters_port))
    except (SettingsError, LedgerError, ProgrammingError) as error:
        log.error("%s", describe(error))
        return 2
    serve(ledger, keys, public, counters)
    return 0


def serve(ledger: Ledger, keys: dict[str, tuple[bytes, ...]], public: socket.socket, counters: socket.socket) -> None:
    """Receive webhooks on one listening socket, show counters on the other, until SIGTERM or SIGINT."""
    chosen = settings.load()
    for problem in chosen.problems:
        log.warning("%s; the default is used", problem)
    watched = chosen.accounts if os.environ.get(f"{settings.PREFIX}ACCOUNTS") else tuple(keys)
    for account in (account for account, own in keys.items() if not own):
        log.warning(
            "account %s has no public key: its webhooks are refused, as with a bad signature, until this is started"
            " with one (Telnyx portal: Keys & Credentials)",
            account,
        )
    guard = Guard()
    app = Receiver(
        keys,
        Recorder(ledger, tuple(keys)),
        Watch(ledger, watched, chosen.watch_limit),
        guard,
        counters.getsockname()[1],
    )
    config = uvicorn.Config(
        app,
        http=guard.protocol(),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_DRAIN,
    )
    log.info("receiving webhooks of %s on %s, counters on %s", ", ".join(keys), _url(public), _url(counters))
    uvicorn.Server(config).run(sockets=[public, counters])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m telnyx_porting.web.receiver",
        description="Receive Telnyx webhooks: verify, store in the ledger, and only then answer 200.",
        epilog=f"The ledger's URL is read from {LEDGER_URL}; without --key the keys from {KEYS}:"
        " ACCOUNT=BASE64, separated by commas or blanks.",
    )
    parser.add_argument(
        "--key",
        action="append",
        metavar="ACCOUNT=BASE64",
        help="an account's public key (Telnyx portal: Keys & Credentials); repeat it for more accounts, or for both"
        " keys of one while the new replaces the old; with nothing behind the = the account's webhooks are refused",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8788, help="port for webhooks (default: %(default)s)")
    parser.add_argument("--counters-port", type=int, default=8789, help="port for /metrics (default: %(default)s)")
    words = "address for /metrics, which names accounts: never one that the world can reach (default: %(default)s)"
    parser.add_argument("--counters-host", default="127.0.0.1", help=words)
    parser.add_argument("--ledger", metavar="URL", help="the ledger, if its URL has no password")
    return parser


def read_keys(name: str, texts: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """Read ``ACCOUNT=BASE64`` into the keys of each account; ``ACCOUNT=`` says that it has none yet.

    :param name: what the texts were given as.
    :raises SettingsError: naming the text and what would be right; also when there is none.
    """
    keys: dict[str, tuple[bytes, ...]] = {}
    if not texts:
        raise SettingsError(name, "", "ACCOUNT=BASE64 for each account, here or as --key")
    for text in texts:
        account, given, encoded = text.partition("=")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,250}", account) or not given or (encoded and len(key) != 32):
            raise SettingsError(name, text, "ACCOUNT=BASE64, a connection id and a public key of 32 bytes in base64")
        keys[account] = (*keys.get(account, ()), *([key] if encoded else []))
    return keys


def _ledger_url(argument: str | None) -> URL:
    parsed = ledger_url(argument)
    if parsed.drivername.startswith("sqlite"):
        return parsed
    # A server that has gone silent is given up before the webhook's sender gives up on us.
    waits = {"connect_timeout": "2", "tcp_user_timeout": "2000"}
    return parsed.update_query_dict({name: value for name, value in waits.items() if name not in parsed.query})


def _listen(option: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(option, f"{host}:{port}", f"an address and a port that are free ({error})") from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
