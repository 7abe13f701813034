"""Ctrl-C and its kin end the demo once, and are not lost where Python drops what a handler raises."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_noted: list[int] = []


def listen() -> None:
    """Let each of them raise KeyboardInterrupt; a shell starts background jobs deaf to Ctrl-C."""
    sys.unraisablehook = _drop
    for each in SIGNALS:
        signal.signal(each, _end)


def check() -> None:
    """Raise KeyboardInterrupt again if one was raised where nothing can be, as in a weak reference's callback."""
    if _noted:
        raise KeyboardInterrupt


def forget() -> None:
    """Let CPython forget one that was caught.

    One that leaves ``exec`` of a string, by which dataclasses are made, would end the process by SIGINT all the same,
    whatever status it ends with (``run_eval_code_obj`` and ``Py_RunMain``).
    """
    exec("")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Go home, once: whoever presses Ctrl-C again need not fear that the clean-up is cut short."""
    _noted.append(number)
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _drop(unraisable: sys.UnraisableHookArgs) -> None:
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
