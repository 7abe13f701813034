"""
Webhooks: verify the signature over the raw bytes first, parse afterwards.

Sources: Telnyx's guide on receiving webhooks (Ed25519 over ``<timestamp>|<body>``, 300 s) and its port-in
notification guide, which prints two envelopes: ``{"data": {...}, "meta": {...}}`` and, for messaging_changed
and deleted, the bare object.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from telnyx_porting.errors import MalformedWebhook, SignatureError, StaleSignature
from telnyx_porting.models.reading import load_json
from telnyx_porting.models.records import Webhook, parse_webhook_object

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOLERANCE", "Webhook", "parse_webhook", "verify_signature"]

TOLERANCE = timedelta(seconds=300)

_TIMESTAMP = re.compile(r"[0-9]{1,11}")


def parse_webhook(body: bytes) -> Webhook:
    """
    Read a webhook from either envelope.

    :param body: the request body as received
    :raises MalformedWebhook: when it is no JSON object with an ``event_type``
    """
    try:
        document = load_json(body)
    except ValueError:
        raise MalformedWebhook("the body is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedWebhook("the body is not a JSON object")
    enveloped = document.get("data")
    if isinstance(enveloped, dict):
        meta = document.get("meta")
        webhook = parse_webhook_object(enveloped, meta if isinstance(meta, dict) else None)
    else:
        webhook = parse_webhook_object(document)
    if not webhook.event_type:
        raise MalformedWebhook("the body has no event_type")
    return webhook


def verify_signature(
    body: bytes,
    timestamp_header: str | None,
    signature_header: str | None,
    keys: Sequence[bytes],
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> datetime:
    """
    Check that Telnyx signed this body recently.

    :param body: the request body, byte for byte
    :param timestamp_header: ``telnyx-timestamp``: Unix seconds, 1 to 11 ASCII digits, signed as written
    :param signature_header: ``telnyx-signature-ed25519``: canonical base64 of 64 bytes
    :param keys: public keys of 32 bytes; one suffices (several while a key is rotated)
    :param now: our clock
    :param tolerance: how far the timestamp may be from ``now`` either way (300 s, as in Telnyx's own SDK)
    :return: the signed time
    :raises StaleSignature: the signature fits, but its time is further away than that
    :raises SignatureError: otherwise
    """
    if not keys:
        raise SignatureError("no public key is configured")
    if not timestamp_header or not signature_header:
        raise SignatureError("a signature header is missing")
    if not _TIMESTAMP.fullmatch(timestamp_header):
        raise SignatureError("the timestamp is not 1 to 11 digits")
    signature = _canonical_base64(signature_header, 64)
    if signature is None:
        raise SignatureError("the signature is not the base64 of 64 bytes")
    signed_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(timestamp_header))
    message = timestamp_header.encode("ascii") + b"|" + body
    if not any(_signed_by(key, signature, message) for key in keys):
        raise SignatureError("the signature fits none of the public keys")
    # After the signature, so that a stranger learns nothing about our clock.
    if abs(now - signed_at) > tolerance:
        limit = tolerance.total_seconds()
        raise StaleSignature(f"signed {signed_at.isoformat()}, more than {limit:.0f} s from now", signed_at - now)
    return signed_at


def _signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _canonical_base64(text: str, size: int) -> bytes | None:
    """Decode standard base64 with padding; anything that does not encode back to the same text is refused."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == size and base64.b64encode(decoded).decode("ascii") == text else None
