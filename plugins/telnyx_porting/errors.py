"""
Every error the package raises. This docstring is the tree; catch at the level you can act on.

::

    TelnyxPortingError
    |- SettingsError            an impossible value was given (.field .value .expected); also a ValueError
    |  `- FormError             ... by the person who started this run, in its form
    |- LedgerError              the ledger refused or is not usable
    |  |- WrongAccountError     a connection leads to another Telnyx user than the ledger's
    |  `- NotScannedError       the account has not been scanned yet
    |- PlanError                a republish plan cannot be made, approved or continued
    |  `- NothingToSendError    nothing of what was selected can be sent (.left_out)
    |- WebhookError
    |  |- SignatureError        the request does not prove that it comes from Telnyx
    |  |  `- StaleSignature     the signature fits, its time does not (.offset)
    |  `- MalformedWebhook      signed or not, the body is no webhook
    `- TelnyxError              a call to Telnyx failed
       |                        (.method .path .status .code .title .request_id .not_processed)
       |- TransportError        no answer
       |  |- ConnectError       never connected (not processed)
       |  |  `- ProxyRefusedError  the proxy on the way refuses its user, or the way (not processed)
       |  |- NotSentError       given up before anything was written (not processed)
       |  `- RequestTimeout     no answer in time; what happened to the request is unknown
       |- StatusError           an answer other than 2xx
       |  |- AuthenticationError    401
       |  |- PermissionDeniedError  403
       |  |- NotFoundError          404
       |  |- InvalidRequestError    400, 422 (.parameter)
       |  |- RateLimitedError       429 (.retry_after, seconds)
       |  `- ServerError            5xx
       `- ContractError         a 2xx answer that breaks what Telnyx publishes
          |- NotJsonError       the body is not JSON
          |- EnvelopeError      JSON, but not the envelope
          `- IncompleteListing  a list that could not be read completely (.until)

``not_processed`` is true only when the request certainly had no effect: it never left, or it was refused with
a 4xx that means a refusal. Look at the class first (a 404 is a refusal for good, a 429 is not), then at
``not_processed``; what is neither has an *unknown* outcome.

No error holds a body, a query or a key: bodies are customer data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class TelnyxPortingError(Exception):
    """Everything this package raises on purpose."""


class SettingsError(TelnyxPortingError, ValueError):
    """
    A value somebody gave us is impossible.

    :param field: name of the setting or argument
    :param value: the value as given; the caller passes a stand-in for secrets
    :param expected: what would be right, in words
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        return f"{self.field} = {shown} is not valid: {self.expected}"


class FormError(SettingsError):
    """A person asked for what cannot be meant, or for what would be ignored: another try changes nothing."""


class LedgerError(TelnyxPortingError):
    """The ledger refused or cannot be used."""


class WrongAccountError(LedgerError):
    """A connection does not lead to the Telnyx user whose events the ledger holds; nothing was read, sent or kept."""


class NotScannedError(LedgerError):
    """The account has not been scanned into this ledger yet."""


class PlanError(TelnyxPortingError):
    """A republish plan cannot be made, approved or continued."""


class NothingToSendError(PlanError):
    """Nothing of what was selected can be sent; ``left_out`` counts the events by reason."""

    def __init__(self, reason: str, left_out: dict[str, int] | None = None) -> None:
        super().__init__(reason)
        self.left_out = left_out or {}


class WebhookError(TelnyxPortingError):
    """An incoming request is not a webhook to accept."""


class SignatureError(WebhookError):
    """The request does not prove that it comes from Telnyx."""


class StaleSignature(SignatureError):
    """
    The signature fits, its time does not: a clock is wrong, or an old webhook is sent again.

    :param offset: the signed time minus ours
    """

    def __init__(self, message: str, offset: timedelta) -> None:
        super().__init__(message)
        self.offset = offset


class MalformedWebhook(WebhookError):
    """The body is no Telnyx webhook."""


class TelnyxError(TelnyxPortingError):
    """
    A call to Telnyx failed.

    :param reason: what happened, in words of ours
    :param method: HTTP method
    :param path: path without query
    :param status: HTTP status, None when there was no answer
    :param code: Telnyx's own code; branch on the status or class, codes are reused between products
    :param title: Telnyx's title of the error
    :param request_id: Telnyx's request id, when sent
    :param parameter: the parameter or JSON pointer that Telnyx names, if any
    :param retry_after: seconds to wait before asking again, where that is known
    :param not_processed: whether the request certainly had no effect; the default is the class's
    """

    not_processed: bool = False

    def __init__(
        self,
        reason: str,
        *,
        method: str = "GET",
        path: str = "",
        status: int | None = None,
        code: str | None = None,
        title: str | None = None,
        request_id: str | None = None,
        parameter: str | None = None,
        retry_after: float | None = None,
        not_processed: bool | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.method = method
        self.path = path
        self.status = status
        self.code = code
        self.title = title
        self.request_id = request_id
        self.parameter = parameter
        self.retry_after = retry_after
        if not_processed is not None:
            self.not_processed = not_processed

    def __str__(self) -> str:
        said = " ".join(part for part in (self.code, self.title) if part)
        parts = [f"{self.method} {self.path}: {self.reason}"]
        if said:
            parts.append(f"Telnyx says: {said}")
        if self.request_id:
            parts.append(f"request {self.request_id}")
        if self.parameter:
            parts.append(f"parameter {self.parameter}")
        return "; ".join(parts)


class TransportError(TelnyxError):
    """No answer came."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""

    not_processed = True


class ProxyRefusedError(ConnectError):
    """The proxy between here and Telnyx refuses its user (407), or to connect (403), so nothing was sent."""


class NotSentError(TransportError):
    """Given up before anything was written."""

    not_processed = True


class RequestTimeout(TransportError):
    """No complete answer in time; whether the request was processed is unknown."""


class StatusError(TelnyxError):
    """An answer other than 2xx."""


class AuthenticationError(StatusError):
    """401: the API key is missing, wrong, expired or revoked."""

    not_processed = True


class PermissionDeniedError(StatusError):
    """403: the key may not do this, or the account is blocked."""

    not_processed = True


class NotFoundError(StatusError):
    """404: no such thing for this account."""

    not_processed = True


class InvalidRequestError(StatusError):
    """400 or 422: Telnyx refuses the request as it is; ``parameter`` may say why."""

    not_processed = True


REFUSED_SECRETS = (AuthenticationError, PermissionDeniedError, ProxyRefusedError)  # tried again, they lock
MISTAKES = (FormError, NotScannedError, PlanError)  # of a person, who sees it
# Another try is in vain.
FOR_GOOD = (*REFUSED_SECRETS, *MISTAKES, InvalidRequestError, NotFoundError, SettingsError, WrongAccountError)


class RateLimitedError(StatusError):
    """429: too many requests."""

    not_processed = True


class ServerError(StatusError):
    """5xx: whether the request was processed is unknown."""


class ContractError(TelnyxError):
    """A 2xx answer breaks what Telnyx publishes."""


class NotJsonError(ContractError):
    """The body is empty, truncated or something other than JSON."""


class EnvelopeError(ContractError):
    """JSON, but not ``{"data": ...}`` as published."""


class IncompleteListing(ContractError):
    """
    A list could not be read completely, so none of the window in question is returned.

    :param until: end of the window, None when open
    """

    def __init__(self, reason: str, *, until: datetime | None = None, **about: object) -> None:
        super().__init__(reason, **about)  # type: ignore[arg-type]
        self.until = until
