"""
The verbs, written once, asynchronously.

Sources: Telnyx's OpenAPI for paths, parameters and fields; its guides for what they mean.
"""

from __future__ import annotations

from telnyx_porting.client.deliveries import DeliveryVerbs
from telnyx_porting.client.events import EventVerbs
from telnyx_porting.client.notifications import NotificationVerbs
from telnyx_porting.client.orders import OrderVerbs
from telnyx_porting.client.probe import ProbeVerbs


class AsyncTelnyxClient(EventVerbs, OrderVerbs, DeliveryVerbs, NotificationVerbs, ProbeVerbs):
    """
    Telnyx's porting API, asynchronously. Use it with ``async with``, in one event loop.

    :param api_key: Telnyx API key (v2)
    :param base_url: up to and including ``/v2``; https, except for loopback or with ``allow_insecure_http``
    :param options: :class:`telnyx_porting.client.transport.Options`
    :raises SettingsError: when one of them is impossible
    """
