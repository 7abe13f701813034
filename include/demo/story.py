"""Tell the whole story once: start, look, live, repair, look again, compare; and say how it ended."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from include.demo import postgres
from include.demo.airflow import ROOT, Databases
from include.demo.homes import home
from include.demo.logs import phase, report, say
from include.demo.loop import KNOBS, Demo
from include.demo.ports import Ports, reserve
from include.demo.processes import DemoError, Processes
from telnyx_porting.links import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.demo.check import Comparison


def table(comparison: Comparison) -> str:
    """Truth and found side by side, with the ids that differ."""
    lines = [f"{'':14}{'truth':>8}{'found':>8}"]
    for name, truth in comparison.truth.items():
        found = comparison.found[name]
        shown = [next(iter(s)) if name in ("events", "orders") and s else str(len(s)) for s in (truth, found)]
        lines.append(f"{name:14}{shown[0]:>8}{shown[1]:>8}  {'' if truth == found else '<-- differs'}")
        lines += [f"    only in truth: {one}" for one in sorted(truth - found)[:5]]
        lines += [f"    only found:    {one}" for one in sorted(found - truth)[:5]]
    return "\n".join([*lines, *(f"wrong: {text}" for text in comparison.wrong)])


def summary(comparison: Comparison, changed: list[str], seconds: dict[str, float]) -> str:
    """Return the last line: one JSON object."""

    def counts(side: dict[str, frozenset[str]]) -> dict[str, int]:
        return {k: int(next(iter(v), 0)) if k in ("events", "orders") else len(v) for k, v in side.items()}

    ok = comparison.ok and not changed
    document: dict[str, Any] = {"ok": ok, "truth": counts(comparison.truth), "found": counts(comparison.found)}
    if not ok:
        document["wrong"] = [*comparison.wrong, *changed]
    return json.dumps(document | {"seconds": seconds})


def run(pinned: Mapping[str, int | None], *, once: bool) -> int:
    """Run the demo in a folder of its own below ``build/``; 0 when found equals truth, 1 when not or when it failed."""
    with home(ROOT / "build", "demo", say) as folder:
        try:
            with reserve(pinned) as ports, Processes(folder) as processes:
                return _tell(ports, processes, once=once)
        except DemoError as error:
            report(error, folder / "logs")
        except Exception as error:
            log = folder / "logs" / "demo.log"
            log.parent.mkdir(exist_ok=True)
            log.write_text(traceback.format_exc())
            report(DemoError(f"it stopped at an error of its own: {type(error).__name__}", log), folder / "logs")
    return 1


def _tell(ports: Ports, processes: Processes, *, once: bool) -> int:
    begin = time.monotonic()
    seconds: dict[str, float] = {}
    say(f"  everything of this demo is in {processes.home}; it listens on {_listed(asdict(ports))}")
    say(f"  settings of the demo: {_listed(KNOBS)}")
    databases = _databases(processes, ports, seconds)
    demo = Demo(processes.home, ports, processes, databases, seconds)
    try:
        demo.start()
        comparison, changed = demo.go_through()
        seconds["total"] = round(time.monotonic() - begin, 1)
        say("\n" + table(comparison))
        for text in changed:
            say(f"wrong: {text}")
        if not once:
            say(f"\nAirflow: {demo.airflow.url}  login admin / {demo.password}\nCtrl-C stops everything.")
            say(f"See it:  {console(demo.airflow.url)}")
            _wait_for_ctrl_c(processes)
    finally:
        demo.close()
    say(summary(comparison, changed, seconds))
    return 0 if comparison.ok and not changed else 1


def _databases(processes: Processes, ports: Ports, seconds: dict[str, float]) -> Databases:
    with phase(seconds, "postgres", "starting PostgreSQL, for Airflow and for the ledger"):
        server = postgres.start(processes, ports.postgres)
        if server is not None:
            return Databases.on(server)
    say(
        "  the PostgreSQL wheel has no build for this platform: SQLite is used, with which Airflow's API server"
        " at times answers 500 to a person's clicks"
    )
    return Databases.in_files(processes.home)


def _listed(pairs: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in pairs.items())


def _wait_for_ctrl_c(processes: Processes) -> None:
    """Stay until a person has seen enough, or a process ends."""
    try:
        while True:
            processes.check()
            time.sleep(1)
    except KeyboardInterrupt:
        say("\nstopping ...")
