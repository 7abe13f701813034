"""The fragments for a cluster are untried there; what can be told without one is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from telnyx_porting.ledger.urls import LEDGER_URL
from telnyx_porting.settings import PREFIX, Settings
from telnyx_porting.web.receiver.__main__ import _parser, read_keys
from tests.support.places import ROOT

FILES = [ROOT / "docs" / name for name in ("helm-values.yaml", "helm-receiver.yaml")]
KNOWN = {LEDGER_URL} | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def documents() -> list[dict[str, Any]]:
    return [document for path in FILES for document in yaml.safe_load_all(path.read_text())]


def of(kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents() if document.get("kind") == kind]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_says_first_that_nobody_tried_it(path: Any) -> None:
    assert path.read_text().startswith("# UNTRIED")


def test_every_variable_is_one_of_ours_and_every_secret_is_made() -> None:
    text = "".join(path.read_text() for path in FILES)
    named = set(re.findall(rf"\b{PREFIX}\w+", text))
    assert named
    assert named <= KNOWN
    made = set(re.findall(r"--from-literal=([\w-]+)=", text))
    asked = set(re.findall(r"(?:secretKey|key): ([\w-]+)", text))
    assert asked == made
    assert set(re.findall(r"(?:secretName: |secretKeyRef: \{name: )(port-\S+?)[,\n]", text)) == {"port-in-watch"}


def test_the_receiver_takes_its_arguments_and_is_found() -> None:
    pod = of("Deployment")["spec"]["template"]
    (receiver,) = pod["spec"]["containers"]
    assert receiver["command"][:3] == ["python", "-m", "telnyx_porting.web.receiver"]
    options = _parser().parse_args([each.replace("$(PUBLIC_KEY)", "A" * 43 + "=") for each in receiver["command"][3:]])
    assert read_keys("--key", options.key).keys() == {"telnyx_default"}
    (service_port,) = of("Service")["spec"]["ports"]
    assert options.port == service_port["targetPort"] == receiver["ports"][0]["containerPort"]
    assert {receiver[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {options.port}
    assert of("Service")["spec"]["selector"] == pod["metadata"]["labels"]
    (path,) = of("Ingress")["spec"]["rules"][0]["http"]["paths"]
    backend = path["backend"]["service"]
    assert (backend["name"], backend["port"]["number"]) == (of("Service")["metadata"]["name"], service_port["port"])
