"""Templates of alert texts: of each kind of finding, and of messages; or a folder's that replace some, in a sandbox.

Values are handed in as cleaned text; nothing in a value is ever read as a template.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from telnyx_porting.flows.findings.kinds import KINDS

log = logging.getLogger(__name__)
OURS = Path(__file__).parents[2] / "templates" / "alerts"
MOST = 20_000  # characters of a rendered text
_NEXT_STEP = """
{% if owner %}Owner: {{ owner }}.{% endif %}
{% if note %}Note: {{ note }}.{% endif %}
Who: {{ who }}.{% if next %} Next: {{ next }}.{% endif %}
"""


@lru_cache(maxsize=16)
def _environment(folder: str) -> ImmutableSandboxedEnvironment:
    findings = {f"{kind.name}.txt.j2": kind.template + _NEXT_STEP for kind in KINDS}
    findings |= {f"{kind.name}.line.txt.j2": kind.template for kind in KINDS}  # where the rest has places of its own
    ours = ChoiceLoader([DictLoader(findings), FileSystemLoader(OURS)])
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folder) if folder else ours,
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
    return _compact(_environment("").get_template(file).render(values))


def _compact(text: str) -> str:
    """Drop the empty lines that a template's conditions leave."""
    return "\n".join(line.strip() for line in text[:MOST].splitlines() if line.strip())
