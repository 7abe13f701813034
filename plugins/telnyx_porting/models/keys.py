"""Event types, and the natural key that an event and its webhooks share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telnyx_porting.models.reading import dict_of, second_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "porting_order."
STATUS_CHANGED = "porting_order.status_changed"
NEW_COMMENT = "porting_order.new_comment"
SPLIT = "porting_order.split"
MESSAGING_CHANGED = "porting_order.messaging_changed"
DELETED = "porting_order.deleted"
LOA_UPDATED = "porting_order.loa_updated"
SHARING_TOKEN_EXPIRED = "porting_order.sharing_token_expired"

WEBHOOK_TYPES = frozenset({STATUS_CHANGED, NEW_COMMENT, SPLIT, MESSAGING_CHANGED, DELETED})
EVENT_TYPES = WEBHOOK_TYPES | {LOA_UPDATED, SHARING_TOKEN_EXPIRED}


def canonical_type(event_type: str) -> str:
    """Undo the one known drift of spelling, ``porting_order_split`` for ``porting_order.split``."""
    if event_type.startswith("porting_order_"):
        dotted = PREFIX + event_type[len(PREFIX) :]
        if dotted in EVENT_TYPES:
            return dotted
    return event_type


LONGEST_KEY = 300
"""Characters of a natural key as it is; a longer one is told apart by its hash."""


@dataclass(frozen=True, slots=True)
class NaturalKey:
    """
    What an event and every webhook about it have in common, whatever their ids are.

    :param key: text without any part of a second, equal for the event and its webhooks
    :param at: the time that tells two of one key apart, as written (precision kept); None where the key does
    """

    key: str
    at: str | None = None


def order_of(event_type: str, payload: Mapping[str, Any] | None) -> str | None:
    """Find the order a payload is about: types differ in where; a split belongs to the order it left."""
    body = dict_of(payload)
    if event_type == SPLIT:
        return text_of(dict_of(body.get("from")).get("id"))
    if event_type == NEW_COMMENT:
        return text_of(body.get("porting_order_id"))
    return text_of(body.get("id")) or text_of(body.get("porting_order_id"))


def natural_key(event_type: str, payload: Mapping[str, Any] | None, happened_at: str | None) -> NaturalKey | None:
    """
    Build the natural key of an event or a webhook; None when the payload lacks a part of it.

    However long the words are that it is made of: it fits into an index of every database, and stays the same for both.

    :param event_type: e.g. ``porting_order.status_changed``
    :param payload: the payload, equal in both
    :param happened_at: ``created_at`` of an event, ``occurred_at`` of a webhook: for payloads without time
    """
    found = _natural_key(event_type, payload, happened_at)
    if found is None or (len(found.key) <= LONGEST_KEY and found.key.isascii()):
        return found
    written = found.key.encode(errors="surrogatepass")
    if len(written) <= LONGEST_KEY:
        return found
    kind, order, *_ = (*found.key.split(":"), "")
    known = f"{order}:" if order.isascii() and len(order) <= LONGEST_KEY // 2 else ""
    return NaturalKey(f"{kind}:{known}#{hashlib.sha256(written).hexdigest()}", found.at)


def _natural_key(event_type: str, payload: Mapping[str, Any] | None, happened_at: str | None) -> NaturalKey | None:
    body = dict_of(payload)
    order = (order_of(event_type, body) or "").lower()
    if event_type == STATUS_CHANGED:
        status, at = text_of(dict_of(body.get("status")).get("value")), text_of(body.get("updated_at"))
        second = second_of(at)
        if not (order and status and second):
            return None
        return NaturalKey(f"status_changed:{order}:{status}:{second}", at)
    if event_type == NEW_COMMENT:
        comment = text_of(dict_of(body.get("comment")).get("id"))
        return NaturalKey(f"new_comment:{comment.lower()}") if comment else None
    if event_type == SPLIT:
        to = text_of(dict_of(body.get("to")).get("id"))
        return NaturalKey(f"split:{order}:{to.lower()}") if order and to else None
    if event_type == DELETED:
        at = text_of(body.get("deleted_at"))
        second = second_of(at)
        return NaturalKey(f"deleted:{order}:{second}", at) if order and second else None
    if event_type == MESSAGING_CHANGED:
        status = text_of(dict_of(body.get("messaging")).get("messaging_port_status"))
        return NaturalKey(f"messaging_changed:{order}:{status}", happened_at) if order and status else None
    return None
