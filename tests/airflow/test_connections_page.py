"""docs/connections.md: its commands are commands, and it names all that a connection may say."""

from __future__ import annotations

import re
import shlex

import pytest
from airflow.cli.cli_parser import get_parser

from telnyx_porting.hooks.telnyx import EXTRAS
from telnyx_porting.settings import Settings
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "connections.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^airflow (connections add .*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=[shlex.split(command)[2] for command in COMMANDS])
def test_its_commands_are_airflows(command: str) -> None:
    told = get_parser().parse_args(shlex.split(command))
    assert told.conn_type in ("telnyx", "sqlite", "postgres", "http", "smtp")


def test_it_names_every_extra_and_every_kind_of_channel() -> None:
    rows = set(re.findall(r"^\| (?:extra )?`([a-z_]+)` \|", PAGE, re.MULTILINE))
    described = Settings.model_fields["alert_channels"].description or ""
    kinds = set(re.findall(r"[a-z]+", described.partition("<connection id>:")[2].replace("or", "")))
    assert rows == {*EXTRAS, *kinds}
