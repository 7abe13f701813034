"""What nobody would write into a row, and somebody will: times at the ends of the calendar, texts no database likes."""

from __future__ import annotations

FAR, NEAR_FAR, FIRST = "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"
SURROGATE, LONG = "a\ud800\x00b", "x" * 100_000
