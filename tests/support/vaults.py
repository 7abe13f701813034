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


class AskedSecrets(BaseSecretsBackend):
    """A secrets backend that knows nothing and keeps what it was asked for."""

    asked: ClassVar[list[str]] = []

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> None:
        self.asked.append(conn_id)

    def get_variable(self, key: str, team_name: str | None = None) -> None:
        self.asked.append(key)

    def get_config(self, key: str) -> None:
        self.asked.append(key)
