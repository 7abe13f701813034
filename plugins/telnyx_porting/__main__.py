"""The command line: ``python -m telnyx_porting [--ledger URL] upgrade | status``. No Airflow needed."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime

from telnyx_porting.errors import LedgerError, SettingsError, TelnyxPortingError
from telnyx_porting.flows.status import status
from telnyx_porting.ledger.engine import Ledger, normalise

LEDGER_URL = "TELNYX_PORTING_LEDGER_URL"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 with one sentence on stderr when not."""
    parser = argparse.ArgumentParser(
        prog="python -m telnyx_porting", description="Look after the port-in watch's ledger."
    )
    parser.add_argument(
        "--ledger", metavar="URL", help=f"the ledger's database URL without password (else ${LEDGER_URL})"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the ledger's schema to this version")
    commands.add_parser("status", help="what an operator wants to know at 3 a.m.")
    options = parser.parse_args(arguments)
    try:
        ledger = Ledger(_url(options.ledger))
        if options.command == "upgrade":
            ledger.upgrade()
            print(f"the ledger is at version {ledger.version()}")  # noqa: T201
        else:
            print(status(ledger.ready(), datetime.now(UTC)))  # noqa: T201
    except TelnyxPortingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _url(given: str | None) -> str:
    if given and normalise(given).password:
        raise SettingsError(
            "--ledger", "(hidden)", f"a URL without a password, it would show in `ps`; use ${LEDGER_URL}"
        )
    url = given or os.environ.get(LEDGER_URL, "")
    if not url:
        raise LedgerError(f"which ledger? Give --ledger URL, or set {LEDGER_URL}")
    return url


if __name__ == "__main__":
    sys.exit(main())
