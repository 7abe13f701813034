"""What the simulator answers has the published structure, whatever it is asked.

Two descriptions: ``openapi.json`` beside this file says what a caller may rely on, strictly; the fuller one with the
provider's own structure is used where it is at hand (``PORTING_OPENAPI``, or beside the clone).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from include.sandbox.testing import RunningSandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
OURS = HERE / "openapi.json"
FULLER = Path(os.environ.get("PORTING_OPENAPI") or HERE.parents[2] / "shared" / "facts" / "porting_openapi.json")
OPERATIONS = [
    ("/porting/events", "get"),
    ("/porting/events/{id}", "get"),
    ("/porting/events/{id}/republish", "post"),
    ("/webhook_deliveries", "get"),
    ("/webhook_deliveries/{id}", "get"),
    ("/porting_orders", "get"),
    ("/porting_orders/{id}", "get"),
    ("/porting_orders/exception_types", "get"),
    ("/notification_settings", "get"),
    ("/notification_channels", "get"),
    ("/notification_event_conditions", "get"),
    ("/notification_events", "get"),
    ("/notification_profiles", "get"),
]
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
CONFIG = {"generation": {"allow-extra-parameters": False, "with-security-parameters": False}}


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class World:
    """A busy account, and for every endpoint that takes one an id that exists."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        sandbox.delivery_rules(retry_delays=[0.01])
        sandbox.subscribe(sandbox.sink_url(200), sandbox.sink_url(503), emails=("desk@example.com",))
        order = sandbox.order(numbers=3, webhook_url=sandbox.sink_url(204))
        sandbox.act(order, "status", value="in-process", complete_after=0)
        sandbox.act(order, "split", numbers=2, complete_after=0)
        sandbox.act(order, "loa")
        sandbox.act(order, "status", value="exception", codes=["OTHER", "LSR_PENDING"], never_completes=True)
        (event,) = sandbox.burst(1, complete_after=0)
        sandbox.settle()
        records = httpx.get(f"{sandbox.base_url}/webhook_deliveries", headers=sandbox.headers).json()["data"]
        self.ids = {"porting_orders": order, "porting": event, "webhook_deliveries": records[0]["id"]}

    def check(self, case: schemathesis.Case, wanted: list[Any]) -> None:
        """Send a request; where it names an id that is well formed, also with one that exists."""
        case.call_and_validate(base_url=self.sandbox.base_url, headers=self.sandbox.headers, checks=wanted)
        if case.path_parameters and len(str(case.path_parameters.get("id"))) == 36:
            case.path_parameters["id"] = self.ids[case.path.split("/")[1]]
            case.call_and_validate(base_url=self.sandbox.base_url, headers=self.sandbox.headers, checks=wanted)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_sandbox("volume", events=3_000) as sandbox:
        yield World(sandbox)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_good_requests_are_answered_as_described(path: str, method: str, world: World) -> None:
    @bounded(12)
    @given(_operation(_ours(), path, method).as_strategy(generation_mode=GenerationMode.POSITIVE))
    def attempt(case: schemathesis.Case) -> None:
        world.check(case, [*CHECKS, checks.positive_data_acceptance])

    attempt()


@pytest.mark.parametrize(("path", "method"), [op for op in OPERATIONS if op[0] != "/porting_orders/exception_types"])
def test_bad_requests_are_refused_as_described(path: str, method: str, world: World) -> None:
    @bounded(12)
    @given(_operation(_ours(), path, method).as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def attempt(case: schemathesis.Case) -> None:
        world.check(case, [*CHECKS, checks.negative_data_rejection])

    attempt()


@pytest.mark.skipif(not FULLER.exists(), reason="the fuller description is not at hand")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_fit_the_fuller_description(path: str, method: str, world: World) -> None:
    @bounded(12)
    @given(_operation(_fuller(), path, method).as_strategy(generation_mode=GenerationMode.POSITIVE))
    def attempt(case: schemathesis.Case) -> None:
        world.check(case, CHECKS)

    attempt()


@pytest.mark.skipif(not FULLER.exists(), reason="the fuller description is not at hand")
def test_all_of_the_fuller_description_is_there() -> None:
    described = {(path, method) for path, item in _fuller()["paths"].items() for method in item}
    assert described == set(OPERATIONS)


def _ours() -> dict[str, Any]:
    return json.loads(OURS.read_text())


def _fuller() -> dict[str, Any]:
    """Read the provider's description, with what its guides state and its document leaves out.

    Payloads are null until they are generated, an order need not have a webhook_url, and 401, 404, 422 and 429 with
    the general error body are possible everywhere.
    """
    document = json.loads(FULLER.read_text())
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if name.startswith("PortingEvent") and "payload" in schema.get("properties", {}):
            payload = schema["properties"]["payload"]
            if payload["type"] == "object":
                payload["type"] = ["object", "null"]
    schemas["PortingEventStatusChangedEvent"]["properties"]["payload"]["properties"]["webhook_url"]["type"] = [
        "string",
        "null",
    ]
    errors = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/TelnyxErrors"}}}}
    for item in document["paths"].values():
        for operation in item.values():
            for status in ("401", "404", "422", "429"):
                operation["responses"][status] = {"description": "stated by the guides"} | errors
    return document


def _operation(document: dict[str, Any], path: str, method: str) -> Any:
    config = schemathesis.Config.from_dict(CONFIG)
    return schemathesis.openapi.from_dict(document, config=config)[path][method]
