"""What a republishing task has sent, in the task's own state store: it outlives crashes, retries and clears."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.context import NEVER_EXPIRE

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

ACCEPTED = "accepted"
NOT_FOUND = "not_found"
REFUSED = "refused"
UNKNOWN = "unknown"
NOT_SENT = "not_sent"


@dataclass
class Block:
    """Ids whose sending is announced, and what became of them."""

    number: int
    ids: list[str]
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the outcome of each id is known."""
        return len(self.outcomes) == len(self.ids)


class SendLog:
    """
    Blocks of ids, each written before its first request and after its last answer.

    A block without an answer for an id means: that request may have been made. One key per block keeps every value
    far below the store's limit of 64 KB, and a write costs the same however long the list is.

    :param store: ``context["task_state_store"]``
    """

    def __init__(self, store: TaskStateStoreAccessor) -> None:
        self._store = store
        self.outcomes: dict[str, str] = {}
        self._next = 0
        while isinstance(found := store.get(f"block:{self._next}"), dict):
            self._read(found)
            self._next += 1
        self.finished = bool(store.get("finished")) if self._next else False

    def _read(self, found: dict[str, Any]) -> None:
        for event_id in found["ids"]:
            self.outcomes[event_id] = found["outcomes"].get(event_id, UNKNOWN)

    def announce(self, ids: list[str]) -> Block:
        """Write that these ids are about to be sent."""
        block = Block(self._next, ids)
        self._next += 1
        self._write(block)
        return block

    def settle(self, block: Block) -> None:
        """Write what became of a block; what it does not say stays unknown."""
        self._write(block)
        self._read({"ids": block.ids, "outcomes": block.outcomes})

    def _write(self, block: Block) -> None:
        # Not expiring: a task cleared after the store's 30 days must not send everything again.
        value: dict[str, Any] = {"ids": block.ids, "outcomes": block.outcomes}
        self._store.set(f"block:{block.number}", value, retention=NEVER_EXPIRE)

    def finish(self) -> None:
        """Write that the list was worked through."""
        self.finished = True
        self._store.set("finished", True, retention=NEVER_EXPIRE)

    def forget(self) -> None:
        """Forget everything that was sent."""
        self._store.clear()
        self.outcomes, self._next, self.finished = {}, 0, False
