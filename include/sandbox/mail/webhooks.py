"""The webhooks of an event: how many, what they say, how they are signed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from include.sandbox.world import catalog, jsons
from include.sandbox.world.times import iso, iso_seconds, parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from include.sandbox.world.model import Event, Json
    from include.sandbox.world.switches import Switches

_RAW_TYPES = frozenset({catalog.MESSAGING_CHANGED, catalog.DELETED})


def part_count(event: Event, switches: Switches) -> int:
    """Count the webhooks of an event: one, but one per number for a split."""
    if event.type == catalog.SPLIT and switches.split_webhooks == "per_number" and event.payload:
        return max(1, len(event.payload["porting_phone_numbers"]))
    return 1


def content(event: Event, webhook_id: str, occurred_us: int, switches: Switches) -> Json:
    """Write what a webhook says, without the envelope around it."""
    payload = json.loads(json.dumps(event.payload or {}))
    payload.pop("porting_phone_numbers", None)
    coarse = switches.webhook_times == "coarse"
    if coarse:
        _cut(payload, "updated_at", "+00:00")
        _cut(payload, "deleted_at", "Z")
        _cut(payload.get("comment", {}), "inserted_at", "Z")
    return {
        "event_type": event.type,
        "id": webhook_id,
        "occurred_at": iso_seconds(occurred_us) if coarse else iso(occurred_us),
        "payload": payload,
        "record_type": "event",
    }


def body(said: Json, attempt: int, url: str, organization_id: str, switches: Switches) -> bytes:
    """Write the body of one attempt."""
    if switches.webhook_shape == "raw" and said["event_type"] in _RAW_TYPES:
        document = {
            "id": said["id"],
            "event_type": said["event_type"],
            "occurred_at": said["occurred_at"],
            "urls": [url],
            "organization_id": organization_id,
            "format": "v2",
            "payload": said["payload"],
        }
    else:
        document = {"data": said, "meta": {"attempt": attempt, "delivered_to": url}}
    return jsons.dumps(document)


def signature_headers(key: Ed25519PrivateKey, raw: bytes, timestamp: int) -> dict[str, str]:
    """Sign a body: Ed25519 over timestamp, ``|`` and the raw bytes."""
    signature = key.sign(f"{timestamp}|".encode() + raw)
    return {
        "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        "telnyx-timestamp": str(timestamp),
    }


def public_key(key: Ed25519PrivateKey) -> str:
    """Give the public key as the portal shows it."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _cut(part: Json, name: str, zone: str) -> None:
    if part.get(name):
        part[name] = iso_seconds(parse(part[name]), zone)
