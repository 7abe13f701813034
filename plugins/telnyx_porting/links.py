"""The addresses that messages, tasks and the demo lead to: pages of the console, and Telnyx's portal."""

from __future__ import annotations

from urllib.parse import quote, urlencode

MOUNT = "telnyx-porting"
"""Where Airflow serves the console, below its own address."""

PORTAL = "https://portal.telnyx.com/#/porting"
LONGEST = 2_000  # characters; some browsers and proxies take no more, Slack's buttons 3,000


def console(base: str, account: str = "", *path: str, fragment: str = "", **query: str) -> str:
    """
    Return the address of a page of the console; where an odd id makes none, that of its first page.

    :param base: Airflow's own address, without a slash at its end; empty: it is not known
    :param account: the account that the page is about; empty: the console's first one
    :param path: ``"orders", order_id``, ``"plans", plan_id``, ``"missed"``, ``"health"``; nothing: what needs somebody
    :param query: filters of that page
    :return: printable ASCII; empty when `base` is
    """
    if not base:
        return ""
    first = f"{base}/{MOUNT}/"
    said = {"account": account} if account else {}
    asked = urlencode(said | query, errors="replace")
    below = "/".join(quote(part, safe="", errors="replace") for part in path)
    url = f"{first}{below}{'?' if asked else ''}{asked}{'#' if fragment else ''}{fragment}"
    if len(url) <= LONGEST and not {"", ".", ".."} & set(path):  # a browser would take these for another folder
        return url
    return f"{first}?{urlencode(said, errors='replace')}"


def finding(base: str, account: str, key: str, order_id: str | None) -> str:
    """Return where a person sees a finding: its order's page, or the first page with it alone."""
    if order_id:
        return console(base, account, "orders", order_id, fragment="finding")
    return console(base, account, key=key)


def portal(order_id: str | None) -> str:
    """
    Return the address of an order in Telnyx's portal.

    The portal's address is published, that of a single order is not: where the portal does not know it, it opens its
    porting page.
    """
    url = f"{PORTAL}/orders/{quote(order_id or '', safe='', errors='replace')}"
    return url if order_id and len(url) <= LONGEST else PORTAL
