"""What a benchmark found, beside what was promised."""

from __future__ import annotations


def say(what: str, value: str, wanted: str = "") -> None:
    print(f"{what:58} {value:>26}   {wanted}", flush=True)
