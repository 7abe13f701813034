"""The command line: ``python -m telnyx_porting [--ledger URL] <command>``; ``--help`` lists them.

`preflight` and `audit` talk to Telnyx through the account's Airflow connection; the others need no Airflow. `check`
talks to Telnyx with a key of its own and needs no ledger.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

from telnyx_porting import settings
from telnyx_porting.client import TelnyxClient
from telnyx_porting.client.core import PUBLIC_API
from telnyx_porting.client.words import in_words
from telnyx_porting.errors import SettingsError, TelnyxError, TelnyxPortingError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.check import check
from telnyx_porting.flows.desk.check_text import report
from telnyx_porting.flows.desk.shapes import Shapes
from telnyx_porting.flows.desk.status import listing, pick, status
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, unmute, write_note
from telnyx_porting.flows.findings.wording import moment
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import LEDGER_URL, ledger_url

_TRIAGE = {  # what people do with a finding
    "acknowledge": "somebody knows: no reminder until then; a question or a changed date is over by it",
    "mute": "say nothing about it until then, whatever becomes of it",
    "unmute": "end a mute now",
    "own": "say whose it is",
    "note": "write something down; alerts show it",
}


_KEY = "the variable TELNYX_API_KEY, or else what is typed when asked"
_ENDS = "Ends with 0: all was read and proved complete; 2: in part, the answer says what not; 1: nothing could be read."


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
    one, each = argparse.ArgumentParser(add_help=False), argparse.ArgumentParser(add_help=False)
    for accounts, default, unsaid in ((one, "telnyx_default", "%(default)s"), (each, None, "all that are watched")):
        words = f"Airflow connection id of the Telnyx account (default: {unsaid})"
        accounts.add_argument("--account", default=default, help=words)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the ledger's schema to this version")
    commands.add_parser("status", help="what an operator wants to know at 3 a.m.")
    commands.add_parser("settings", help="every setting with the value in force; 1 when one is invalid")
    commands.add_parser(
        "preflight", parents=[each], help="is everything in place? each line is good, or says what to do"
    )
    words = "a first answer on an account, read-only: no ledger and no Airflow needed; sends nothing"
    first = commands.add_parser("check", help=words, description=f"{words}. The API key: {_KEY}.", epilog=_ENDS)
    first.add_argument("--days", type=_days, default=14, help="how far back to look, 1 to 90 (default: %(default)s)")
    first.add_argument("--base-url", default=PUBLIC_API, help="another Telnyx than %(default)s, such as a sandbox")
    words = "write the structure of what Telnyx answered there, as JSON: keys, types and formats, no values"
    first.add_argument("--shapes", type=_new_file, metavar="FILE", help=words)
    words = "prove that the ledger holds what Telnyx has; 2 when it cannot be proved"
    prove = commands.add_parser("audit", parents=[one], help=words)
    prove.add_argument("--from", dest="since", type=_time, metavar="TIME", help="such as 2026-10-01T00:00:00Z")
    prove.add_argument("--to", dest="until", type=_time, metavar="TIME")
    prove.add_argument("--ids", action="store_true", help="compare every id instead of counting")
    words = "what is open now, with the keys that the next five commands take"
    commands.add_parser("findings", parents=[each], help=words)
    for name, words in _TRIAGE.items():
        command = commands.add_parser(name, parents=[one], help=words)
        command.add_argument("finding", help="its key, or its order's reference, support key or id")
        if name in ("acknowledge", "mute"):
            limit = "at most 14 days ahead" if name == "mute" else "default: the next working day's opening"
            words = f"such as 2026-10-01T09:00:00Z; {limit}"
            command.add_argument("--until", type=_time, required=name == "mute", metavar="TIME", help=words)
        command.add_argument("--by", default="", help="who says so (default: the user of this command)")
        if name == "mute":
            command.add_argument("--reason", required=True, help="why nobody needs to hear of it")
        if name in ("own", "note"):
            command.add_argument("text", help="empty: nobody's" if name == "own" else "empty: no note")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except TelnyxPortingError as error:
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "settings":
        return _settings()
    if options.command == "check":
        return _check(options)
    if options.command == "preflight":
        return _preflight(options.account)
    with Ledger(ledger_url(options.ledger)) as ledger:
        if options.command == "upgrade":
            ledger.upgrade()
            print(f"the ledger is at version {ledger.version()}")
        elif options.command == "status":
            print(status(ledger.ready(), datetime.now(UTC)))
        elif options.command == "findings":
            for account in [options.account] if options.account else settings.load().accounts:
                print(listing(Account(ledger.ready(), account, settings.load(account))))
        elif options.command in _TRIAGE:
            print(_triage(ledger.ready(), options))
        else:
            return _audit(ledger.ready(), options)
    return 0


def _check(options: argparse.Namespace) -> int:
    """Read the account into a ledger that is thrown away, and say what was seen."""
    own = settings.load().require_valid().model_copy(update={"first_look_days": options.days})
    shapes, pace = Shapes(), own.requests_per_second
    client = TelnyxClient(
        _api_key(), options.base_url, observe=shapes.take, requests_per_second=pace, keep_free=own.keep_free
    )
    try:
        with TemporaryDirectory(prefix="telnyx-porting-check-") as folder:
            with Ledger(f"sqlite:///{folder}/ledger.db") as ledger, client:
                ledger.upgrade()
                seen = check(Account(ledger, "check", own), client, lambda words: print(words, file=sys.stderr))
    except TelnyxError as error:
        host = "--base-url, and the network"
        print(in_words(error, key=_KEY, host=host, longer="try again later"), file=sys.stderr)
        return 1
    finally:
        if options.shapes:
            options.shapes.write_text(json.dumps(shapes.dump(), indent=1) + "\n")
    print(report(seen))
    return 0 if seen.is_whole else 2


def _api_key() -> str:
    """Return the key of the environment, or ask for it: an argument would show in `ps`."""
    if key := os.environ.get("TELNYX_API_KEY", "").strip():
        return key
    if not sys.stdin.isatty():
        raise SettingsError("TELNYX_API_KEY", "", "the Telnyx API key (v2) there, or a terminal to ask for it")
    return getpass.getpass("Telnyx API key (v2): ").strip()


def _triage(ledger: Ledger, options: argparse.Namespace) -> str:
    account = Account(ledger, options.account, settings.load(options.account))
    key = pick(account, options.finding)
    zone = account.settings.business_zone
    by = options.by or getpass.getuser()
    if options.command == "acknowledge":
        until = acknowledge(account, key, by, options.until)
        return f"{key}: acknowledged by {by} until {moment(until, account.clock(), zone)}"
    if options.command == "mute":
        mute(account, key, by, options.reason, options.until)
        return f"{key}: muted by {by} until {moment(options.until, account.clock(), zone)}"
    if options.command == "unmute":
        unmute(account, key, by)
        return f"{key}: not muted any more"
    if options.command == "own":
        take(account, key, by, options.text or None)
        return f"{key}: {'owned by ' + options.text if options.text else 'nobody owns it'}"
    write_note(account, key, by, options.text or None)
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
    with hook.get_client_within(own) as client:
        result = audit(Account(ledger, options.account, own), client, options.since, options.until, options.ids)
    print(result.certificate)
    print(f"{result.found} were missing and are held now, {result.gone} are gone at Telnyx; {result.requests} requests")
    return 2 if result.open_reason else 0


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; expected a time such as 2026-10-01T00:00:00Z")
    return moment


def _new_file(text: str) -> Path:
    try:
        Path(text).write_text("")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return Path(text)


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 90:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 90")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
