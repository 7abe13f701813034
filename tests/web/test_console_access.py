"""Who may see and do what in the console: every route it has, for every role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute

from telnyx_porting.web.console import access
from tests.support.airflow_server import ACTS, CONSOLE, ORIGIN, ROLES, Server
from tests.support.places import BUILD

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

REPORT = BUILD / "console-roles.txt"
WHO = (*ROLES, "anonymous")
SEEN = {"admin": "yes", "op": "yes", "viewer": "yes", "anonymous": "log in"}
ACTED = {"admin": "yes", "op": "yes", "viewer": "no", "anonymous": "log in"}
ID = "0" * 8 + "-0000-4000-8000-" + "0" * 12
# A route that is not here fails the test: whoever makes one decides who may use it.
RULES: dict[str, dict[str, str]] = {
    "GET /": SEEN,
    "GET /findings": SEEN,
    "GET /orders": SEEN,
    "GET /orders/{order_id}": SEEN,
    "GET /events/{event_id}": SEEN,
    "GET /missed": SEEN,
    "GET /plans": SEEN,
    "GET /plans/{plan_id}": SEEN,
    "GET /health": SEEN,
    "GET /static/{name}": SEEN,
    "POST /findings/{verb}": ACTED,
}
# What the page's script asks of Airflow itself.
OF_AIRFLOW = {
    "POST /api/v2/dags/porting_republish/dagRuns": ACTED,
    "POST /api/v2/dags/porting_backfill/dagRuns": ACTED,
    f"PATCH /api/v2/dags/porting_republish/dagRuns/{ID}/taskInstances/approve/-1/hitlDetails": ACTED,
}
WORDS = {401: "log in", 403: "no"}


def routes(console: Server) -> list[str]:
    """Every route; each asks for the permission itself, not only for a login."""
    found = []
    for route in console.console().routes:
        assert isinstance(route, APIRoute), f"{route} is no route whose permission is known"
        asks = {dependency.call for dependency in route.dependant.dependencies}
        needed = {access.see} if route.methods == {"GET"} else {access.triage, access.from_our_page}
        assert needed <= asks, f"{route.path} does not ask for its permission"
        found += [f"{method} {route.path}" for method in sorted(route.methods)]
    return found


def asked(browser: TestClient, line: str, root: str) -> str:
    method, path = line.split(" ", 1)
    for name, value in {
        "{name}": "console.css",
        "{verb}": "own",
        "{order_id}": ID,
        "{event_id}": ID,
        "{plan_id}": ID,
    }.items():
        path = path.replace(name, value)
    body = None if method == "GET" else {}
    answer = browser.request(method, f"{root}{path}", json=body, headers={} if method == "GET" else ACTS)
    assert answer.status_code < 500, answer.text
    return WORDS.get(answer.status_code, "yes")


def test_every_route_for_every_role(console: Server) -> None:
    assert sorted(routes(console)) == sorted(RULES)
    table = {**{line: (CONSOLE, line, rule) for line, rule in RULES.items()}}
    table |= {line: ("", line, rule) for line, rule in OF_AIRFLOW.items()}
    browsers = {who: console.browser(None if who == "anonymous" else who) for who in WHO}
    lines = [f"{'route':120}" + "".join(f"{who:10}" for who in WHO)]
    wrong = []
    for line, (root, _, rule) in table.items():
        got = {who: asked(browser, line, root) for who, browser in browsers.items()}
        lines.append(f"{line.replace(' /', f' {root}/', 1):120}" + "".join(f"{got[who]:10}" for who in WHO))
        wrong += [f"{line} for {who}: {got[who]}, expected {rule[who]}" for who in WHO if got[who] != rule[who]]
    REPORT.write_text("\n".join(lines), encoding="utf-8")
    assert wrong == []


def test_docs_are_off(console: Server) -> None:
    for path in ("docs", "redoc", "openapi.json"):
        assert console.browser("admin").get(f"{CONSOLE}/{path}").status_code == 404


FOREIGN: list[tuple[str, dict[str, Any], bool]] = [
    ("from our page", {}, True),
    ("no origin", {"Origin": None}, False),
    ("a frame without origin", {"Origin": "null"}, False),
    ("another site", {"Origin": "https://evil.example"}, False),
    ("another port", {"Origin": "http://airflow.test:8081"}, False),
    ("another scheme", {"Origin": "https://airflow.test:8080"}, False),
    ("ours as a prefix", {"Origin": f"{ORIGIN}.evil.example"}, False),
    ("without our header", {"X-Telnyx-Porting": None}, False),
    ("with a bad bearer beside the cookie", {"Authorization": "Bearer x", "Origin": None}, False),
]


@pytest.mark.parametrize(("change", "taken"), [(change, ok) for _, change, ok in FOREIGN], ids=[f[0] for f in FOREIGN])
def test_only_our_pages_act(console: Server, change: dict[str, Any], taken: bool) -> None:
    headers = {name: value for name, value in {**ACTS, **change}.items() if value is not None}
    answer = console.browser("op").post(f"{CONSOLE}/findings/own", json={"keys": ["x:y"]}, headers=headers)
    assert (answer.status_code == 200) == taken, answer.text


def test_a_program_with_its_own_token_needs_no_origin(console: Server) -> None:
    headers = {"X-Telnyx-Porting": "1", **console.bearer("op")}
    answer = console.browser().post(f"{CONSOLE}/findings/own", json={"keys": ["x:y"]}, headers=headers)
    assert answer.status_code == 200


def test_who_acts_is_never_in_the_body(console: Server) -> None:
    for name in ("by", "user", "actor"):
        body = {"keys": ["x:y"], name: "somebody else"}
        assert console.browser("op").post(f"{CONSOLE}/findings/acknowledge", json=body, headers=ACTS).status_code == 422


def test_every_answer_is_closed_to_others(console: Server) -> None:
    for who in WHO:
        for path in ("", "nothing-here", "static/console.js"):
            answer = console.browser(None if who == "anonymous" else who).get(f"{CONSOLE}/{path}")
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            if "text/html" in answer.headers["content-type"]:
                assert answer.headers["cache-control"] == "no-store"
                assert "style=" not in answer.text
                assert answer.text.count("<script") == 1
                assert "onclick" not in answer.text
