"""A shape says how an answer is built, and nothing that stood in it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.client.answers import Answer
from telnyx_porting.flows.desk.shapes import Shapes

# Values that cannot be a word of our own: capitals and digits, or longer than any of them.
TEXTS = st.one_of(
    st.from_regex(r"\A[A-Z0-9 +@.:/_-]{7,30}\Z").filter(lambda text: any(c.isupper() for c in text)),
    st.uuids().map(str),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.dates().map(str),
    st.from_regex(r"\A\+[0-9]{8,14}\Z"),
    st.emails(),
    st.from_regex(r"\Ahttps://[a-z]{9}\.example/[a-z]{9}\Z"),
    st.from_regex(r"\A[a-z]{4}[0-9]{4}-[a-z]{9}\Z"),
)
NUMBERS = st.one_of(st.integers(10**6, 10**15), st.floats(1e3, 1e9).map(lambda x: round(x, 4) + 0.00001))
NAMES = st.from_regex(r"\A[a-z]{1,8}(_[a-z]{1,8})?\Z")
DOCUMENTS = st.recursive(
    st.one_of(TEXTS, NUMBERS, st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(NAMES, TEXTS), inner, max_size=5),
    ),
    max_leaves=25,
)


def shown(*documents: Any, path: str = "/porting/events") -> str:
    shapes = Shapes()
    for document in documents:
        shapes.take(Answer(path, 200, {}, json.dumps(document).encode(), None))
    return json.dumps(shapes.dump(), ensure_ascii=False)


def values(document: Any) -> list[str]:
    """Everything that is data: leaves, and keys that are no field's name."""
    if isinstance(document, dict):
        keys = [key for key in document if not key.replace("_", "").isalpha() or not key.islower()]
        return keys + [value for each in document.values() for value in values(each)]
    if isinstance(document, list):
        return [value for each in document for value in values(each)]
    return [] if document is None or isinstance(document, bool) else [str(document)]


@given(st.lists(DOCUMENTS, min_size=1, max_size=3))
def test_no_value_is_in_it(documents: list[Any]) -> None:
    said = shown(*documents)
    assert [value for document in documents for value in values(document) if value in said] == []


@given(DOCUMENTS)
def test_it_is_the_same_however_often_and_is_json(document: Any) -> None:
    assert shown(document, document) == shown(document)
    json.loads(shown(document))


def test_what_it_says() -> None:
    event = "5796a670-482c-490e-8d97-82bfcdc83011"
    one = {
        "id": event,
        "at": "2026-10-01T00:00:00.123Z",
        "n": 1,
        "to": ["a@b.example"],
    }
    other = {
        "id": None,
        "at": "2026-10-01T00:00:00+02:00",
        "to": [],
        event: {"x": True},
    }
    path = f"/porting/events/{event}"
    assert json.loads(shown({"data": [one, other]}, path=path)) == {
        "GET /porting/events/{id}: 200": {
            "data": [
                {
                    "<uuid>?": {"x": "boolean"},
                    "at": "time with Z and 3 digits or time with offset",
                    "id": "null or uuid",
                    "n?": "integer",
                    "to": ["e-mail address"],
                }
            ]
        }
    }


def test_what_is_no_json_or_deeper_than_anything_is_said_so() -> None:
    shapes = Shapes()
    shapes.take(Answer("/porting/events", 502, {}, b"<html>Bad gateway at 10.2.3.4</html>", None))
    shapes.take(Answer("/porting/events", 204, {}, b"", None))
    deep: Any = "SECRET"
    for _ in range(60):
        deep = [deep]
    shapes.take(Answer("/porting/orders", 200, {}, json.dumps(deep).encode(), None))
    said = json.dumps(shapes.dump())
    assert "something deeper" in said
    assert '"GET /porting/events: 502": "not JSON"' in said
    assert '"GET /porting/events: 204": "no body"' in said
    assert "SECRET" not in said
