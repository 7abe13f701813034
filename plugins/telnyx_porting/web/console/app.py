"""The console's application: its rooms, what every answer carries, and errors in words."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from telnyx_porting.errors import LedgerError, TelnyxPortingError
from telnyx_porting.web.console import actions, files, pages
from telnyx_porting.web.console.place import Ledgers, airflow_root
from telnyx_porting.web.console.render import bare_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger(__name__)

_ALWAYS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_MEANINGS = {
    401: ("You are not logged in", "Log in to Airflow, then come back."),
    403: ("Not allowed", "Whoever administers this Airflow can give you the permission."),
    404: ("Not found", "Look for it on the page Orders, or check the address."),
    422: ("This address cannot be read", "Go back, or start from the first page."),
    503: (
        "The ledger cannot be read",
        "All that is shown is read from it. Put this right, then reload the page.",
    ),
}


def create_app() -> FastAPI:
    """Make the application that Airflow mounts. It looks at nothing before the first request."""
    app = FastAPI(title="Port-in", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.ledgers = Ledgers()
    for router in (files.router, pages.router, actions.router):
        app.include_router(router)
    app.middleware("http")(_with_headers)
    for kind in (StarletteHTTPException, RequestValidationError, TelnyxPortingError):
        app.exception_handler(kind)(_in_words)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.ledgers.close()


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        response = await call_next(request)
    except Exception as error:
        log.exception("the console failed at %s %s", request.method, request.url.path)
        response = await _in_words(request, error)
    response.headers.update(_ALWAYS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


async def _in_words(request: Request, error: Exception) -> Response:
    status, title, text, todo = _words(error)
    if request.method != "GET":
        return JSONResponse({"text": text}, status)
    login = f"{airflow_root(request)}/api/v2/auth/login?next={quote(str(request.url))}" if status == 401 else ""
    return bare_page(request, status, title=title, text=text, todo=todo, login=login)


def _words(error: Exception) -> tuple[int, str, str, str]:
    if isinstance(error, StarletteHTTPException):
        status, text = error.status_code, str(error.detail)
    elif isinstance(error, RequestValidationError):
        wrong = error.errors()[0]
        status, text = 422, f"{wrong['loc'][-1]}: {wrong['msg']}"
    elif isinstance(error, TelnyxPortingError):
        status, text = 503 if isinstance(error, LedgerError) else 400, str(error)
    else:
        return 500, "Something failed here", type(error).__name__, "The log of Airflow's API server says more."
    title, todo = _MEANINGS.get(status, ("This did not work", ""))
    return status, title, text, todo
