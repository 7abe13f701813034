"""What was missed, and the plans that send it again."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from telnyx_porting.web.console.access import see

router = APIRouter(dependencies=[Depends(see)])
