"""/sandbox/inbox takes any letter and keeps it; /sandbox/sink answers webhooks with a status of choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from include.sandbox.control.body import answer
from include.sandbox.world.times import iso

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_LETTERS = 10_000
_MOST_BYTES = 1_048_576


async def inbox(request: Request) -> Response:
    """Take a letter, show all letters, or forget them."""
    sandbox = request.app.state.sandbox
    letters: list[dict[str, Any]] = sandbox.inbox
    if request.method == "POST":
        raw = await request.body()
        if len(raw) > _MOST_BYTES or len(letters) >= _MOST_LETTERS:
            return answer({"error": "the inbox takes 10,000 letters of at most 1 MiB"}, 413)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            body = raw.decode(errors="replace")
        letters.append(
            {
                "id": len(letters) + 1,
                "at": iso(sandbox.world.clock.wall_us()),
                "path": request.url.path,
                "content_type": request.headers.get("content-type"),
                "body": body,
            }
        )
        return answer({"ok": True}, 200)
    if request.method == "DELETE":
        letters.clear()
    return answer(letters)


async def sink(request: Request) -> Response:
    """Be a webhook receiver that answers what the path says."""
    return Response(status_code=request.path_params["status"])


routes = [
    Route("/inbox", inbox, methods=["GET", "POST", "DELETE"]),
    Route("/inbox/{rest:path}", inbox, methods=["POST"]),
    Route("/sink/{status:int}", sink, methods=["POST"]),
]
