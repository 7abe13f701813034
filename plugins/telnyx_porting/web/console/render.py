"""Templates: everything foreign comes out as text in a line, whatever it holds."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from telnyx_porting.escaping import LONG, as_data, one_line, place
from telnyx_porting.flows.desk.board import read_headline
from telnyx_porting.web.console import files
from telnyx_porting.web.console.place import Visit, address, airflow_root

if TYPE_CHECKING:
    from fastapi import Request


def _inert(value: object) -> object:
    """Make one line of whatever a template prints, unless a filter of ours has made it harmless already."""
    return value if isinstance(value, Markup) else one_line(value, LONG)


_jinja = Environment(
    loader=PackageLoader("telnyx_porting.web.console"),
    autoescape=True,
    finalize=_inert,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _filter(function: Any) -> Any:
    _jinja.filters[function.__name__] = function
    return function


@_filter
def when(at: datetime | None, shown: str = "both") -> Markup:
    """Write a time: readable as it is (UTC), and the script writes it in the viewer's zone, with its age.

    :param shown: `both`, or `age` where there is room for no more than "3 h ago".
    """
    if at is None:
        return Markup('<span class="none">never</span>')
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-shown="{}">{:%d %b %Y %H:%M} UTC</time>').format(
        at.isoformat(timespec="seconds"), shown, at
    )


@_filter
def prose(text: str | None, limit: int = 4_000) -> Markup:
    """Write a text of several lines; the style sheet keeps its line breaks."""
    lines = (as_data(text, limit) or "").splitlines()
    return Markup("\n").join(escape(one_line(line, limit)) for line in lines)


@_filter
def exact(text: str) -> Markup:
    """Write a text for the browser to send back as it is; it is not shown."""
    return escape(text)


@_filter
def as_json(value: Any) -> Markup:
    """Write a value as JSON for the script to read."""
    return escape(json.dumps(value, default=str))


@_filter
def raw(value: Any, limit: int = 100_000) -> Markup:
    """Write a value as JSON for people to read, in plain characters: none that hides, or turns the text around."""
    return escape(as_data(json.dumps(value, indent=2, default=str), limit) or "")


@_filter
def lasting(span: timedelta) -> str:
    """Write how long something took or lasts, in its largest unit."""
    seconds = span.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"


@_filter
def seconds(length: float) -> str:
    """Write seconds in the largest unit."""
    return str(lasting(timedelta(seconds=length)))


_jinja.filters["place"] = place


@_filter
def kind(event_type: str) -> str:
    """Write an event's type in words: all are a porting order's."""
    return event_type.removeprefix("porting_order.").replace("_", " ")


@_filter
def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _new_run() -> str:
    """Make the id of a run that a page offers: clicked twice, it is one run."""
    return f"console__{uuid.uuid4()}"


_jinja.globals["new_run"] = _new_run


def page(visit: Visit, template: str, **shown: Any) -> HTMLResponse:
    return _html(
        200,
        template,
        visit=visit,
        request=visit.request,
        account=visit.account.id,
        headline=read_headline(visit.account),
        **shown,
    )


def bare_page(request: Request, status: int, **shown: Any) -> HTMLResponse:
    """Render a page that says what is wrong; it reads nothing."""
    return _html(status, "words.html", visit=None, request=request, account=None, **shown)


def _html(status: int, template: str, request: Request, **shown: Any) -> HTMLResponse:
    text = _jinja.get_template(template).render(
        request=request,
        now=datetime.now(UTC),
        airflow=airflow_root(request),
        href=lambda *path, **query: address(request, *path, **query),
        files={name: address(request, "static", name, v=version) for name, version in files.VERSIONS.items()},
        **shown,
    )
    return HTMLResponse(text, status)
