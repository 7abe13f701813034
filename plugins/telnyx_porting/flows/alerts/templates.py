"""Templates of alert texts: ours, or a folder's that replaces some of them, in a sandbox.

Values are handed in as cleaned text; nothing in a value is ever read as a template.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

log = logging.getLogger(__name__)
OURS = Path(__file__).parents[2] / "templates" / "alerts"
MOST = 20_000  # characters of a rendered text


@lru_cache(maxsize=16)
def _environment(folder: str) -> ImmutableSandboxedEnvironment:
    loader: BaseLoader = FileSystemLoader(folder)
    return ImmutableSandboxedEnvironment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=False,
    )


def render(name: str, folder: str, **values: Any) -> str:
    """Render `<name>.txt.j2`, from the folder when it has it and it works, else from ours.

    :param folder: people's own templates; empty: none.
    """
    file = f"{name}.txt.j2"
    if folder and (Path(folder) / file).is_file():
        try:
            return _compact(_environment(folder).get_template(file).render(values))
        except Exception as error:  # people's template, whatever it does, must not silence an alert
            log.warning("template %s does not work, ours is used: %s", Path(folder) / file, type(error).__name__)
    return _compact(_environment(str(OURS)).get_template(file).render(values))


def _compact(text: str) -> str:
    """Drop the empty lines that a template's conditions leave."""
    return "\n".join(line.strip() for line in text[:MOST].splitlines() if line.strip())
