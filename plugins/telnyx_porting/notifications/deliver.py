"""Carry a message to its channel: an Airflow connection of the HTTP provider.

Messages are rendered by us and go out as a body. They never pass through template fields of a notifier: Airflow would
render customer text as Jinja there, and a comment could print a connection's password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.http.hooks.http import HttpHook

from telnyx_porting.errors import TelnyxPortingError
from telnyx_porting.flows.channels import body

if TYPE_CHECKING:
    from telnyx_porting.flows.channels import Channel, Message

TIMEOUT = 10  # seconds


class ChannelError(TelnyxPortingError):
    """A channel did not take a message. Says why without the URL, which may carry a secret."""


def deliver(channel: Channel, message: Message) -> None:
    """Send one message to one channel.

    :raises ChannelError: when it was not taken, or nobody knows whether it was.
    """
    hook = HttpHook(method="POST", http_conn_id=channel.connection)
    options = {"check_response": False, "timeout": TIMEOUT, "allow_redirects": False}
    try:
        response = hook.run(json=body(channel, message), extra_options=options)
    except Exception as error:
        raise ChannelError(f"connection {channel.connection!r} could not be used: {type(error).__name__}") from None
    if not 200 <= response.status_code < 300:
        raise ChannelError(f"connection {channel.connection!r} answered {response.status_code}")
