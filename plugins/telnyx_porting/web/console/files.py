"""The console's files for the browser, addressed by their content so that a browser asks for each version once."""

from __future__ import annotations

import hashlib
from importlib.resources import files as package_files

from fastapi import APIRouter, Depends, HTTPException, Response

from telnyx_porting.web.console.access import see

router = APIRouter(dependencies=[Depends(see)])

_TYPES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FILES = {name: (package_files(__package__) / "static" / name).read_bytes() for name in _TYPES}
VERSIONS = {name: hashlib.sha256(body).hexdigest()[:12] for name, body in _FILES.items()}


@router.get("/static/{name}")
def file(name: str) -> Response:
    """Return a file; `name` is one of a few, never a path."""
    if name not in _FILES:
        raise HTTPException(404, "no such file")
    return Response(_FILES[name], media_type=_TYPES[name], headers={"Cache-Control": "private, max-age=31536000"})
