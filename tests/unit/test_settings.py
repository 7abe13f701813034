"""Settings: every knob by its variable, and one sentence for what is wrong."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.errors import SettingsError
from telnyx_porting.settings import Settings, load


def test_defaults_do_no_harm() -> None:
    """Nobody asked for it, so nothing is sent by itself."""
    settings = load(environ={})
    assert settings.republish_mode == "approve"
    assert settings.consumer_is_idempotent is False
    assert settings.republish_max_mails == 0
    assert settings.alert_channels == ()
    assert settings.require_valid() is settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", timedelta(seconds=90)), ("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15))]
    + [("4h", timedelta(hours=4)), ("2d", timedelta(days=2)), (" 1.5h ", timedelta(minutes=90))],
)
def test_durations_are_written_as_people_write_them(text: str, expected: timedelta) -> None:
    assert load(environ={"TELNYX_PORTING_GRACE": text}).grace == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ACCOUNTS", " , ", "at least 1"),
        ("GRACE", "soon", "15m"),
        ("GRACE", "-5m", "15m"),
        ("KEEP_FREE", "1.5", "less than 1"),
        ("REPUBLISH_MODE", "yolo", "off, approve, auto"),
        ("REPUBLISH_BUDGET", "0", "greater than or equal to 1"),
        ("AUTO_APPROVE_MAX", "many", "valid integer"),
        ("ACCOUNT_SETTINGS", "[1]", "JSON object"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: str, expected: str) -> None:
    settings = load("telnyx_default", environ={f"TELNYX_PORTING_{name}": value})
    with pytest.raises(SettingsError) as caught:
        settings.require_valid()
    sentence = str(caught.value)
    assert f"TELNYX_PORTING_{name}" in sentence
    assert value in sentence
    assert expected in sentence
    assert settings.grace == load(environ={}).grace, "the default stands in"


def test_one_account_may_differ() -> None:
    text = '{"second": {"grace": "5m", "republish_mode": "off"}}'
    env = {"TELNYX_PORTING_ACCOUNT_SETTINGS": text, "TELNYX_PORTING_GRACE": "10m"}
    assert load("second", env).grace == timedelta(minutes=5)
    assert load("second", env).republish_mode == "off"
    assert load("first", env).grace == timedelta(minutes=10)


def test_an_unknown_field_of_an_account_is_named() -> None:
    env = {"TELNYX_PORTING_ACCOUNT_SETTINGS": '{"second": {"graze": "5m"}}'}
    with pytest.raises(SettingsError, match="graze"):
        load("second", env).require_valid()


@given(st.dictionaries(st.sampled_from([name.upper() for name in Settings.model_fields]), st.text(max_size=30)))
def test_no_text_breaks_loading(values: dict[str, str]) -> None:
    """Whatever stands in the environment: settings come out, and each is either as asked or told as a problem."""
    load("telnyx_default", {f"TELNYX_PORTING_{name}": value for name, value in values.items()})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a@example.com", ("a@example.com",)),
        ("a@example.com; b@example.com,c@example.com;", ("a@example.com", "b@example.com", "c@example.com")),
        ('"Desk, Porting" <a@example.com>', ("a@example.com",)),
        ('"Desk; \\"Porting\\"" <a@example.com>, Ann <b@example.com>', ("a@example.com", "b@example.com")),
        ("a@m\u00fcller.example", ("a@xn--mller-kva.example",)),
        ("a@example.com, a@example.com", ("a@example.com",)),
        ("first.last+porting@mail.example.com", ("first.last+porting@mail.example.com",)),
    ],
)
def test_recipients_are_read_as_mail_programs_write_them(written: str, read: tuple[str, ...]) -> None:
    settings = load(environ={"TELNYX_PORTING_MAIL_TO": written})
    assert (settings.mail_to, settings.problems) == (read, ())


@pytest.mark.parametrize(
    "written",
    [
        "a",
        "a@",
        "@example.com",
        "a b@example.com",
        "a@b@c",
        "d\u00fcse@example.com",
        "a@example.com x",
        "a@ex ample.com",
    ]
    + ["a@example.com\r\nBcc: b@example.com", "<a@example.com", "a..b@example.com", "a@-", "everybody:;", '"x" <>'],
)
def test_what_is_no_address_is_refused_when_it_is_read(written: str) -> None:
    (problem,) = load(environ={"TELNYX_PORTING_MAIL_TO": written}).problems
    assert "TELNYX_PORTING_MAIL_TO" in str(problem)


@given(st.text(max_size=40))
def test_whatever_is_written_recipients_are_addresses_or_a_problem(written: str) -> None:
    settings = load(environ={"TELNYX_PORTING_MAIL_TO": written})
    assert all(re.fullmatch(r"[!-~]+@[A-Za-z0-9.-]+", name) for name in settings.mail_to)
