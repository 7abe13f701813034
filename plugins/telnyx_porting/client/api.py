"""
The verbs, written once, asynchronously.

Sources: Telnyx's OpenAPI for paths, parameters and fields; its guides for what they mean.
"""

from __future__ import annotations

from telnyx_porting.client.deliveries import DeliveryVerbs
from telnyx_porting.client.events import EventVerbs
from telnyx_porting.client.notifications import NotificationVerbs
from telnyx_porting.client.orders import OrderVerbs


class AsyncTelnyxClient(EventVerbs, OrderVerbs, DeliveryVerbs, NotificationVerbs):
    """
    Telnyx's porting API, asynchronously. Use it with ``async with``, in one event loop.

    :param api_key: Telnyx API key (v2)
    :param base_url: up to and including ``/v2``; https, except for loopback or with ``allow_insecure_http``
    :param timeout: seconds a try may take after it is connected
    :param max_concurrency: requests in flight at most
    :param requests_per_second: fixed ceiling; None: the provider's headers rule
    :param keep_free: share (0 to 0.9) of the provider's remaining limit that is left to other software
    :param allow_insecure_http: permit http to a test server; never to the public API
    :param transport: an httpx transport to use instead of sockets, for tests
    :param clock: time source, for tests
    :raises SettingsError: when one of them is impossible
    """
