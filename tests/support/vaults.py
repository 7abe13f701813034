"""Secrets backends that fail."""

from __future__ import annotations

from typing import ClassVar

from airflow.secrets import BaseSecretsBackend


class BrokenSecrets(BaseSecretsBackend):
    """A secrets backend whose service is away for a moment."""

    asked: ClassVar[list[str]] = []

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        self.asked.append(conn_id)
        raise ConnectionError("the vault is away")
