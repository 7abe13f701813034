"""Identifiers made from the seed alone, so that the same seed gives the same world."""

from __future__ import annotations

from hashlib import blake2b

_ODD = 2654435761
_ODD_INVERSE = pow(_ODD, -1, 1 << 32)
_MASK = 0xFFFFFFFF


class Ids:
    """Make UUIDs (version 4 in form) from a seed."""

    def __init__(self, seed: int) -> None:
        self._key = f"sandbox-{seed}".encode()[:64]
        self._counts: dict[str, int] = {}
        self._mixes: dict[str, int] = {}

    def digest(self, text: str, size: int = 16) -> bytes:
        """Give bytes that depend on the seed and the text only."""
        return blake2b(text.encode(), digest_size=size, key=self._key).digest()

    def number(self, text: str, below: int) -> int:
        """Give a number in ``[0, below)`` that depends on the seed and the text only."""
        return int.from_bytes(self.digest(text, 8), "big") % below

    def named(self, name: str) -> str:
        """Give the UUID of a name."""
        return _form(self.digest(name))

    def fresh(self, kind: str) -> str:
        """Give the next UUID of a kind."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        return self.named(f"{kind}#{count}")

    def packed(self, kind: str, index: int) -> str:
        """Give the UUID that carries an index, so that a computed history needs no table of ids."""
        scrambled = (index * _ODD + self._mix(kind)) & _MASK
        return _form(scrambled.to_bytes(4, "big") + self.digest(f"{kind}@{index}", 12))

    def unpack(self, kind: str, text: str) -> int | None:
        """Give the index a UUID carries, None when it is not one of :meth:`packed`."""
        try:
            scrambled = int(text[:8], 16)
        except ValueError:
            return None
        index = ((scrambled - self._mix(kind)) * _ODD_INVERSE) & _MASK
        return index if self.packed(kind, index) == text.lower() else None

    def _mix(self, kind: str) -> int:
        if kind not in self._mixes:
            self._mixes[kind] = int.from_bytes(self.digest(kind, 4), "big")
        return self._mixes[kind]


def _form(raw: bytes) -> str:
    text = raw.hex()
    variant = "89ab"[raw[8] >> 6]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
