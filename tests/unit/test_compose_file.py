"""docker-compose.yaml and the files beside it agree with each other and with the code."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from include.demo.loop import KNOBS
from include.sandbox.mail.webhooks import public_key
from include.sandbox.world.world import World
from telnyx_porting import settings
from tests.support.compose import FILE, interpolate, variables
from tests.support.places import ROOT

GIVEN = {name: value or "made" for name, value in variables(ROOT / ".env.example").items()}
DOCUMENT: dict[str, Any] = interpolate(yaml.safe_load(FILE.read_text()), GIVEN)
SERVICES: dict[str, Any] = DOCUMENT["services"]


def test_the_demo_s_settings_are_those_of_make_demo() -> None:
    said = variables(ROOT / "demo.env")
    prefix = settings.PREFIX
    assert {n.removeprefix(prefix).lower(): v for n, v in said.items() if n.startswith(prefix)} == KNOBS
    assert said["TELNYX_PUBLIC_KEYS"] == f"telnyx_default={public_key(World(1).signing_key)}"


def test_every_example_of_a_setting_can_be_used() -> None:
    lines = (ROOT / "settings.env.example").read_text().splitlines()
    examples = dict(line[1:].split("=", 1) for line in lines if line.startswith(f"#{settings.PREFIX}"))
    assert examples
    assert settings.load(None, examples).problems == ()


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_can_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"].startswith("airflow-provider") or service["user"] == name


def test_only_the_receiver_is_published_to_the_world() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert [name for name, listed in ports.items() if any(not one.startswith("127.0.0.1:") for one in listed)] == [
        "receiver"
    ]
    assert not any("8789" in one for listed in ports.values() for one in listed)


def test_every_service_of_ours_knows_the_ledger_and_the_receiver_nothing_more() -> None:
    for name, service in SERVICES.items():
        if name not in ("postgres", "redis", "sandbox"):
            assert "/porting" in service["environment"]["TELNYX_PORTING_LEDGER_URL"], name
    assert not [name for name in SERVICES["receiver"]["environment"] if name.startswith("AIRFLOW")]


def test_every_service_that_stays_has_a_health_check() -> None:
    assert [
        name for name, service in SERVICES.items() if service["restart"] != "no" and "healthcheck" not in service
    ] == []
