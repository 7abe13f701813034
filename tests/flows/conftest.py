"""Fixtures of the flow tests: a ledger on each database."""

from tests.ledgers import ledger, postgres_server, postgres_url

__all__ = ["ledger", "postgres_server", "postgres_url"]
