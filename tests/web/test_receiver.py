"""What the receiver takes is in the ledger when it is answered; over real sockets, on both databases."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from telnyx_porting.models.reading import parse_time
from tests.support.receivers import ACCOUNT, PATH, World, encode, raw_request, read_answer, stored, webhook

pytestmark = pytest.mark.xdist_group("receiver")
MIB = 1 << 20


def test_a_valid_webhook_is_in_the_ledger_when_it_is_answered(world: World) -> None:
    document = webhook()
    body = encode(document)
    headers = world.new.headers(body)
    assert world.running.post(body, headers).status_code == 200
    [row] = stored(world.ledger, body)
    data, payload = document["data"], document["data"]["payload"]
    assert row["account"] == ACCOUNT
    assert row["source"] == "receiver"
    assert row["ok"] is True
    assert row["signed_at"] == datetime.fromtimestamp(int(headers["telnyx-timestamp"]), UTC)
    assert row["source_id"].startswith(headers["telnyx-timestamp"] + ":")
    assert row["webhook_id"] == data["id"]
    assert row["type"] == data["event_type"]
    assert row["order_id"] == payload["id"]
    assert row["occurred_at"] == parse_time(data["occurred_at"])
    assert row["natural_key"] == f"status_changed:{payload['id']}:in-process:{payload['updated_at'][:19]}"
    assert row["natural_at"] == payload["updated_at"]
    assert row["destination"] == document["meta"]["delivered_to"]
    assert row["event_id"] is None
    assert row["matched"] is None
    assert abs(row["stored_at"] - datetime.now(UTC)) < timedelta(seconds=30)


def test_the_bare_envelope_is_taken_and_its_path_is_its_destination(world: World) -> None:
    body = encode(
        {
            "id": "ca3ab343-ac33-4b68-be9b-f77c6519a9d5",
            "event_type": "porting_order.messaging_changed",
            "occurred_at": "2026-10-01T15:00:12Z",
            "urls": ["https://hooks.example.net/portin"],
            "payload": {"id": "2c63888f-28f0", "messaging": {"messaging_port_status": "exception"}},
        }
    )
    assert world.post(body).status_code == 200
    [row] = stored(world.ledger, body)
    assert row["type"] == "porting_order.messaging_changed"
    assert row["natural_key"] == "messaging_changed:2c63888f-28f0:exception"
    assert row["natural_at"] == "2026-10-01T15:00:12Z"
    assert row["destination"] == PATH


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}//", f"/{PATH}", f"/webhooks//telnyx///{ACCOUNT}"])
def test_a_slash_too_many_loses_no_webhook(world: World, path: str) -> None:
    body = encode(webhook() | {"meta": {}})
    assert world.running.post(body, world.new.headers(body), path).status_code == 200
    [row] = stored(world.ledger, body)
    assert (row["account"], row["destination"]) == (ACCOUNT, PATH)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"data": {"event_type": "porting_order.invented", "id": "x", "payload": {"a": [1, 2]}}},
        {"data": {"event_type": 7, "id": {"a": 1}, "occurred_at": [], "payload": "text"}, "meta": []},
        {"event_type": "message.received", "payload": None},
        webhook(id="i" * 5000, event_type="porting_order.new_comment", payload={"comment": {"id": "c" * 100_000}}),
        webhook(payload={"id": "nul\x00", "status": {"value": "\ud800"}, "updated_at": "2026-10-01T00:00:00Z"}),
    ],
    ids=["empty", "no data", "unknown type", "wrong types", "not a port-in", "endless ids", "hostile text"],
)
def test_a_signed_object_of_unknown_shape_is_kept(world: World, document: dict[str, Any]) -> None:
    body = encode(document | {"unique": time.time_ns()})
    assert world.post(body).status_code == 200
    assert len(stored(world.ledger, body)) == 1


def test_the_same_request_again_is_a_replay_and_adds_nothing(world: World) -> None:
    body = encode(webhook())
    headers = world.new.headers(body)
    for _ in range(3):
        assert world.running.post(body, headers).status_code == 200
    assert len(stored(world.ledger, body)) == 1


def test_the_same_body_signed_at_another_time_is_a_new_delivery(world: World) -> None:
    body = encode(webhook())
    now = int(time.time())
    for timestamp in (now - 40, now):
        assert world.running.post(body, world.new.headers(body, str(timestamp))).status_code == 200
    assert [row["signed_at"].timestamp() for row in stored(world.ledger, body)] == [now - 40, now]


def test_old_and_new_key_are_both_good_while_one_replaces_the_other(world: World) -> None:
    for signer in (world.old, world.new):
        body = encode(webhook())
        assert world.running.post(body, signer.headers(body)).status_code == 200
        assert len(stored(world.ledger, body)) == 1


def test_a_connection_may_carry_many_webhooks(world: World) -> None:
    bodies = [encode(webhook()) for _ in range(5)]
    with world.running.connect() as connection:
        for body in bodies:
            connection.sendall(raw_request(body, world.new.headers(body)))
            assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
    assert all(len(stored(world.ledger, body)) == 1 for body in bodies)


def test_a_body_of_one_mebibyte_is_taken(world: World) -> None:
    empty = len(encode({"fill": ""}))
    body = encode({"fill": "x" * (MIB - empty)})
    assert len(body) == MIB
    assert world.post(body).status_code == 200
    assert len(stored(world.ledger, body)) == 1
