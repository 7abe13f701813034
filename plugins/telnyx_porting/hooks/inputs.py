"""Arguments as they arrive: rendered templates, XComs, strings. Checked before the first request."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from telnyx_porting.errors import SettingsError
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLE = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


def as_time(field: str, value: datetime | str | None) -> datetime | None:
    """
    Read a time; a template without a value renders as an empty text or ``None``.

    :param field: name of the argument, for the error
    :param value: a datetime with a zone, or its ISO 8601 text
    :raises SettingsError: when it is no time, or has no zone
    """
    if value is None or value in ("", "None"):
        return None
    expected = "an ISO 8601 time with a zone, such as 2026-10-01T00:00:00Z"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise SettingsError(field, value, expected) from None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise SettingsError(field, value, expected)
    return moment.astimezone(UTC)


def as_text(field: str, value: Any) -> str | None:
    """
    Read an optional text; a template without a value renders as an empty text or ``None``.

    :param field: name of the argument, for the error
    :param value: the text
    :raises SettingsError: when it is something else, such as a number
    """
    if value is not None and not isinstance(value, str):
        raise SettingsError(field, value, "a text" + (f", such as {EXAMPLE}" if field.endswith("_id") else ""))
    return None if value is None or value.strip() in ("", "None") else value.strip()


def as_texts(field: str, value: Any, expected: str) -> list[str]:
    """
    Read a text or several.

    :param field: name of the argument, for the error
    :param value: one text, or a list of them
    :param expected: what would be right, for the error
    :raises SettingsError: when there is none, or one of them is something else
    """
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)) or not given:
        raise SettingsError(field, value, expected)
    for each in given:
        if not isinstance(each, str) or not each.strip():
            raise SettingsError(field, each, expected)
    return [each.strip() for each in given]


def as_ids(field: str, value: Any) -> list[str]:
    """
    Read a list of ids, each once, in the order given.

    :param field: name of the argument, for the error
    :param value: ids; facts with an ``id`` as the list operator returns them; or a text with ids, as a template
        renders a list
    :raises SettingsError: naming the first value that is no id
    """
    given: Iterable[Any]
    if value is None:
        given = []
    elif isinstance(value, str):
        given = [part for part in re.split(r"[\s,\[\]()'\"]+", value) if part]
    elif isinstance(value, dict) or not hasattr(value, "__iter__"):
        raise SettingsError(field, value, f"a list of UUIDs such as {EXAMPLE}")
    else:
        given = value
    ids = []
    for item in given:
        text = str(item.get("id") if isinstance(item, dict) else item).strip().lower()
        if not is_uuid(text):
            raise SettingsError(field, item, f"UUIDs such as {EXAMPLE}")
        ids.append(text)
    return list(dict.fromkeys(ids))


def check_ids(operator: Any) -> None:
    """
    Check that an operator's single ids, as rendered, are texts: a database would compare a number with none of them.

    :param operator: any whose ``template_fields`` hold the ids
    :raises SettingsError: naming the field
    """
    for field in operator.template_fields:
        if field.endswith("_id"):
            as_text(field, getattr(operator, field))
