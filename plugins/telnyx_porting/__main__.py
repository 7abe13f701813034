"""The command line: ``python -m telnyx_porting [--ledger URL] <command>``; ``--help`` lists them.

`preflight` and `audit` talk to Telnyx through the account's Airflow connection; the others need no Airflow.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper

from telnyx_porting import settings
from telnyx_porting.errors import LedgerError, SettingsError, TelnyxPortingError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.findings import listing, pick
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, unmute, write_note
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import LEDGER_URL, normalise

TRIAGE = ("acknowledge", "mute", "unmute", "own", "note")  # what people do with a finding


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 with one sentence on stderr when not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal cannot show is shown as an escape, and ends nothing
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="python -m telnyx_porting", description="Look after the port-in watch's ledger."
    )
    parser.add_argument(
        "--ledger", metavar="URL", help=f"the ledger's database URL without password (else ${LEDGER_URL})"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the ledger's schema to this version")
    commands.add_parser("status", help="what an operator wants to know at 3 a.m.")
    commands.add_parser("settings", help="every setting with the value in force; 1 when one is invalid")
    look = commands.add_parser("preflight", help="is everything in place? each line is good, or says what to do")
    look.add_argument("--account", help="Airflow connection id of the Telnyx account (default: all that are watched)")
    prove = commands.add_parser("audit", help="prove that the ledger holds what Telnyx has; 2 when it cannot be proved")
    prove.add_argument("--account", default="telnyx_default", help="Airflow connection id of the Telnyx account")
    prove.add_argument("--from", dest="since", type=_time, metavar="TIME", help="such as 2026-10-01T00:00:00Z")
    prove.add_argument("--to", dest="until", type=_time, metavar="TIME")
    prove.add_argument("--ids", action="store_true", help="compare every id instead of counting")
    found = commands.add_parser("findings", help="what is open now, with the keys that the next five commands take")
    found.add_argument("--account", help="Airflow connection id of the Telnyx account (default: all that are watched)")
    _add_triage(commands)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except TelnyxPortingError as error:
        print(error, file=sys.stderr)
        return 1


def _add_triage(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    helps = {
        "acknowledge": "somebody knows: no reminder until then; a question or a changed date is over by it",
        "mute": "say nothing about it until then, whatever becomes of it",
        "unmute": "end a mute now",
        "own": "say whose it is",
        "note": "write something down; alerts show it",
    }
    for name in TRIAGE:
        command = commands.add_parser(name, help=helps[name])
        command.add_argument("finding", help="its key, or its order's reference, support key or id")
        command.add_argument("--account", default="telnyx_default", help="Airflow connection id of the Telnyx account")
        if name in ("acknowledge", "mute"):
            command.add_argument(
                "--until",
                type=_time,
                required=name == "mute",
                metavar="TIME",
                help="such as 2026-10-01T09:00:00Z; "
                + ("at most 14 days ahead" if name == "mute" else "default: the next working day's opening"),
            )
            command.add_argument("--by", default="", help="who says so (default: the user of this command)")
        if name == "mute":
            command.add_argument("--reason", required=True, help="why nobody needs to hear of it")
        if name in ("own", "note"):
            command.add_argument("text", help="empty: nobody's" if name == "own" else "empty: no note")


def _run(options: argparse.Namespace) -> int:
    if options.command == "settings":
        return _settings()
    if options.command == "preflight":
        return _preflight(options.account)
    with Ledger(_url(options.ledger)) as ledger:
        return _with_ledger(ledger, options)


def _with_ledger(ledger: Ledger, options: argparse.Namespace) -> int:
    if options.command == "upgrade":
        ledger.upgrade()
        print(f"the ledger is at version {ledger.version()}")
    elif options.command == "status":
        print(status(ledger.ready(), datetime.now(UTC)))
    elif options.command == "findings":
        for account in [options.account] if options.account else settings.load().accounts:
            print(listing(Account(ledger.ready(), account, settings.load(account))))
    elif options.command in TRIAGE:
        print(_triage(ledger.ready(), options))
    else:
        return _audit(ledger.ready(), options)
    return 0


def _triage(ledger: Ledger, options: argparse.Namespace) -> str:
    """Do what a person wants done with a finding; return what was done."""
    account = Account(ledger, options.account, settings.load(options.account))
    key = pick(account, options.finding)
    if options.command == "acknowledge":
        by = options.by or getpass.getuser()
        until = acknowledge(account, key, by, options.until)
        return f"{key}: acknowledged by {by} until {until:%Y-%m-%d %H:%M} UTC"
    if options.command == "mute":
        by = options.by or getpass.getuser()
        mute(account, key, by, options.reason, options.until)
        return f"{key}: muted by {by} until {options.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if options.command == "unmute":
        unmute(account, key)
        return f"{key}: not muted any more"
    if options.command == "own":
        take(account, key, options.text or None)
        return f"{key}: {'owned by ' + options.text if options.text else 'nobody owns it'}"
    write_note(account, key, options.text or None)
    return f"{key}: {'noted' if options.text else 'no note'}"


def _settings() -> int:
    own = settings.load()
    print(settings.table(own))
    for problem in own.problems:
        print(problem, file=sys.stderr)
    return 1 if own.problems else 0


def _preflight(account: str | None) -> int:
    _as_airflow()
    from telnyx_porting.operators.preflight import check, pool

    wrong = 0
    for name in [account] if account else settings.load().accounts:
        print(f"account {name}")
        for line in check(name):
            print(f"  {line}")
            wrong += not line.ok
    print("Airflow")
    line = pool()
    print(f"  {line}")
    wrong += not line.ok
    return 1 if wrong else 0


def _as_airflow() -> None:
    """Look for connections where Airflow's own processes do; elsewhere it sees those of the environment only."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def _audit(ledger: Ledger, options: argparse.Namespace) -> int:
    _as_airflow()
    from telnyx_porting.hooks.telnyx import TelnyxHook

    own = settings.load(options.account).require_valid()
    hook = TelnyxHook(options.account)
    with hook.get_client(requests_per_second=own.requests_per_second, keep_free=own.keep_free) as client:
        result = audit(Account(ledger, options.account, own), client, options.since, options.until, options.ids)
    print(result.certificate)
    print(f"{result.found} were missing and are held now, {result.gone} are gone at Telnyx; {result.requests} requests")
    return 2 if result.open_reason else 0


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; expected a time such as 2026-10-01T00:00:00Z")
    return moment


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
