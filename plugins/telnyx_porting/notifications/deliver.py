"""Carry a message to its channel: an Airflow connection of the HTTP or the SMTP provider.

Messages are rendered by us and go out as a body. They never pass through template fields of a notifier: Airflow would
render customer text as Jinja there, and a comment could print a connection's password.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from telnyx_porting.client.connections import OWN_CA, trusted
from telnyx_porting.escaping import one_line
from telnyx_porting.flows.alerts.bodies import PATHS, body, mail
from telnyx_porting.flows.alerts.channels import ChannelError

if TYPE_CHECKING:
    import requests
    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from requests.adapters import HTTPAdapter

    from telnyx_porting.flows.alerts.channels import Channel, Message

TIMEOUT = 10  # seconds
_ASKED_TO_WAIT = {408, 425, 429}
_REFUSED = {401, 403, 407}
_TOO_LARGE = 413
_MAIL_TOO_LARGE = 552
_UNFIT = {400, _TOO_LARGE, 422}
_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: (40[137])")


def deliver(channel: Channel, message: Message) -> None:
    """Send one message to one channel.

    :raises ChannelError: when it was not taken, or nobody knows whether it was.
    """
    if channel.kind == "mail":
        _mail(channel, message)
    else:
        _post(channel, message)


def _post(channel: Channel, message: Message) -> None:
    import requests  # here, as every parse of a DAG file would pay for it
    from airflow.providers.http.hooks.http import HttpHook

    name = f"connection {channel.connection!r}"
    try:
        connection = BaseHook.get_connection(channel.connection)
        host = connection.host or ""
        path = urlsplit(host if "://" in host else f"//{host}").path
        endpoint = PATHS.get(channel.kind) if path in ("", "/") else None
        verified = connection.extra_dejson.get("verify") is not False
        hook = HttpHook(method="POST", http_conn_id=channel.connection, adapter=_adapter() if verified else None)
        options = {"check_response": False, "timeout": TIMEOUT, "allow_redirects": False}
        response = hook.run(endpoint, json=body(channel, message, connection.password), extra_options=options)
    except AirflowNotFoundException:
        raise ChannelError(f"{name} does not exist: create it (type http)", not_sent=True) from None
    except requests.exceptions.ProxyError as error:
        said = _REFUSED_BY_PROXY.search(str(error))
        reason = f"the proxy refused the user ({said[1]})" if said else "the proxy let nothing through"
        raise ChannelError(f"{name}: {reason}", not_sent=True, refused=bool(said)) from None
    except requests.RequestException as error:
        reason = type(error).__name__ + (f": {OWN_CA}" if isinstance(error, requests.exceptions.SSLError) else "")
        raise ChannelError(f"{name}: {reason}", not_sent=_never_connected(error)) from None
    except ValueError:
        raise ChannelError(f"{name}: its host is no address", not_sent=True) from None
    code = response.status_code
    if code in _REFUSED:
        raise ChannelError(f"{name} answered {code}", refused=True)
    if code in _UNFIT:
        raise ChannelError(f"{name} answered {code}", unfit=True, too_large=code == _TOO_LARGE)
    if not 200 <= code < 300:
        raise ChannelError(f"{name} answered {code}", not_sent=400 <= code < 500 and code not in _ASKED_TO_WAIT)


def _adapter() -> HTTPAdapter | None:
    """Return what trusts a company's own CA also where OpenSSL's variables name it: requests knows only its own."""
    from requests.adapters import HTTPAdapter

    if not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys():
        return None
    trust = {"ssl_context": trusted()}

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options | trust)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **options | trust)

    return Trusting()


def _never_connected(error: requests.RequestException) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(error).__name__ == "ConnectTimeout" or type(reason).__name__ in (
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
    )


def _mail(channel: Channel, message: Message) -> None:
    from smtplib import SMTPAuthenticationError, SMTPRecipientsRefused, SMTPResponseException

    try:
        from airflow.providers.smtp.hooks.smtp import SmtpHook
    except ImportError:
        raise ChannelError("the channel mail needs apache-airflow-providers-smtp", not_sent=True) from None
    letter = mail(message)
    connected = False
    try:
        hook = _with_text(SmtpHook, letter.text)(smtp_conn_id=channel.connection)
        with ExitStack() as closed:
            closed.callback(_hang_up, hook)  # `with hook` would leave the connection open where the login fails
            hook.get_conn()
            connected = True
            hook.send_email_smtp(
                to=[channel.recipient],
                subject=letter.subject,
                html_content=letter.html,
                mime_subtype="alternative",
                custom_headers={"Message-ID": letter.identity},
            )
    except SMTPAuthenticationError as error:
        reason = f"the mail server refused the user ({error.smtp_code})"
        raise ChannelError(f"connection {channel.connection!r}: {reason}", refused=True) from None
    except SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise ChannelError(f"the mail server refused {channel.recipient}: {_said(code, said)}", not_sent=True) from None
    except SMTPResponseException as error:
        reason = f"the mail server did not take it: {_said(error.smtp_code, error.smtp_error)}"
        raise ChannelError(reason, not_sent=True, too_large=error.smtp_code == _MAIL_TOO_LARGE) from None
    except Exception as error:
        text = f"connection {channel.connection!r}: {type(error).__name__}"
        raise ChannelError(text, not_sent=not connected) from None


def _with_text(kind: type[SmtpHook], text: str) -> type[SmtpHook]:
    """Return a hook whose mails also have a part of plain text, which the provider has no public way to add.

    Should it build its mails otherwise one day, they go out as HTML alone.
    """
    from email.mime.text import MIMEText

    class Letters(kind):  # type: ignore[misc,valid-type]
        def _build_mime_message(self, *args: Any, **options: Any) -> Any:
            mime, recipients = super()._build_mime_message(*args, **options)
            mime.set_payload([MIMEText(text, "plain", "utf-8"), *mime.get_payload()])
            return mime, recipients

    return Letters


def _said(code: int, text: bytes | str) -> str:
    return one_line(f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}")


def _hang_up(hook: SmtpHook) -> None:
    with suppress(AttributeError):  # it never connected
        hook.__exit__(None, None, None)
