"""Fixtures for tests that kill and starve."""

from __future__ import annotations

from tests.support.ledgers import ledger, postgres_server, postgres_url

__all__ = ["ledger", "postgres_server", "postgres_url"]
