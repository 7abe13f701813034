"""Airflow's API server in this process, with the console in it, as each role sees it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

ORIGIN = "http://airflow.test:8080"
ROLES = ("admin", "op", "viewer")
CONSOLE = "/telnyx-porting"
ACTS = {"Origin": ORIGIN, "X-Telnyx-Porting": "1"}  # what a page of ours says when it acts


class Server:
    """The application, and a browser for each role.

    :param prefix: the path that a proxy has put in front of Airflow.
    """

    def __init__(self, app: FastAPI, prefix: str = "") -> None:
        self.app, self.prefix = app, prefix
        self.tokens: dict[str, str] = {}

    def browser(self, role: str | None = None) -> TestClient:
        """A browser in which somebody has logged in, or nobody."""
        client = TestClient(self.app, base_url=ORIGIN, raise_server_exceptions=False, follow_redirects=False)
        if role:
            client.cookies.set("_token", self._token(role))
        return client

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token(role)}"}

    def console(self) -> FastAPI:
        """The console's own application."""
        (mounted,) = (route.app for route in self.app.routes if getattr(route, "path", "") == CONSOLE)
        return mounted

    def _token(self, role: str) -> str:
        if role not in self.tokens:
            answer = self.browser().post(f"{self.prefix}/auth/token", json={"username": role, "password": role})
            self.tokens[role] = answer.raise_for_status().json()["access_token"]
        return self.tokens[role]


@contextmanager
def airflow_server(home: Path, prefix: str = "") -> Iterator[Server]:
    """Start an API server whose users are called as their roles; Airflow's database is migrated."""
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({role: role for role in ROLES}))
    settings: dict[str, Any] = {
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "API__BASE_URL": f"{ORIGIN}{prefix}",
        "API_AUTH__JWT_SECRET": "x" * 64,
    }
    environ = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
    with patch.dict("os.environ", {**environ, "_AIRFLOW_PROCESS_CONTEXT": "server"}):
        from airflow.api_fastapi import app as api
        from airflow.plugins_manager import get_fastapi_plugins

        root = f"{prefix}/"
        get_fastapi_plugins.cache_clear()
        with patch.object(api, "API_ROOT_PATH", root):
            api.purge_cached_app()
            app = api.create_app()
        with TestClient(app):  # its lifespan
            yield Server(app, prefix)
        api.purge_cached_app()
