"""Errors as the API answers them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from include.sandbox.world.switches import Switches


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        parameter: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.parameter = parameter
        self.headers = headers or {}

    def response(self, switches: Switches) -> Response:
        """Write the answer, with the body the switch ``error_body`` asks for."""
        if switches.error_body == "empty":
            return Response(status_code=self.status, headers=self.headers)
        if switches.error_body == "text":
            return Response(f"{self.status} {self.title}\n", self.status, headers=self.headers, media_type="text/plain")
        error: dict[str, Any] = {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "meta": {"url": f"https://developers.telnyx.com/docs/overview/errors/{self.code}"},
        }
        if self.parameter:
            error["source"] = {"parameter": self.parameter}
        return Response(
            json.dumps({"errors": [error]}), self.status, headers=self.headers, media_type="application/json"
        )


#: status -> (code, title) where the status alone decides
_PLAIN = {
    400: ("10015", "Bad Request"),
    401: ("10009", "Authentication failed"),
    403: ("10010", "Authorization failed"),
    404: ("10005", "Resource not found"),
    405: ("10015", "Method not allowed"),
    408: ("10008", "Request timeout"),
    422: ("10027", "Unprocessable entity"),
    429: ("10011", "Too many requests"),
    500: ("10007", "Unexpected error"),
    503: ("10037", "Service unavailable"),
}


def plain(status: int, detail: str = "", headers: dict[str, str] | None = None) -> ApiError:
    """Make the usual error of a status."""
    code, title = _PLAIN.get(status, ("10007", "Unexpected error"))
    return ApiError(status, code, title, detail or title, headers=headers)


def bad_filter(parameter: str, detail: str, code: str = "10031", title: str = "Invalid request filter") -> ApiError:
    """Make the error for a query parameter."""
    return ApiError(422, code, title, detail, parameter=parameter)
