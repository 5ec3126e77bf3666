"""Errors over HTTP: of the API, of its client and of webhooks."""

from __future__ import annotations

from collections.abc import Iterable

from durable_monty.exceptions.base import DurableMontyError


class NotAuthenticated(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "Nobody is logged in, and no key was sent. Send “Authorization: Bearer KEY”, with a "
            "key that was made in the admin."
        )


class InvalidKey(DurableMontyError):
    def __init__(self) -> None:
        # One message for all of them, so that it does not reveal which keys exist.
        super().__init__(
            "The key is unknown, revoked or expired, or its user may not log in any more. Make "
            "another one in the admin."
        )


class CsrfRefused(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "The CSRF token is missing or wrong. A request of a session sends it as X-CSRFToken; "
            "a request with a key needs none."
        )


class NotPermitted(DurableMontyError):
    def __init__(self, scope: str, permissions: Iterable[str]) -> None:
        self.scope, self.permissions = scope, tuple(permissions)
        super().__init__(
            f"This needs the permissions {', '.join(self.permissions)}, and of a key the scope "
            f"{scope!r} too."
        )


class BodyTooLarge(DurableMontyError):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"The request's body is larger than {limit:,} bytes. "
            "DURABLE_MONTY['MAX_VALUE_BYTES'], ['MAX_SOURCE_BYTES'] and Django's "
            "DATA_UPLOAD_MAX_MEMORY_SIZE say what is allowed."
        )


class WrongContentType(DurableMontyError):
    def __init__(self, given: str) -> None:
        self.given = given
        # The header is the client's own text and may have any length.
        super().__init__(
            f"The request's body must be application/json, in UTF-8, not {given[:100]!r}."
        )


class BodyNotJson(DurableMontyError):
    def __init__(self, why: object) -> None:
        self.why = why
        super().__init__(f"The request's body is not JSON: {why}.")


class InvalidCursor(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("The cursor was not made here. Use the next_cursor of the page before.")


class WrongCursor(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "The cursor belongs to another list, or to other filters. Begin without a cursor."
        )


class RequestRefused(DurableMontyError):
    """The server refused a request, with a `code` that has no exception of its own."""

    def __init__(self, status: int, code: str, text: str) -> None:
        # Every error of a response has `http_status`: elsewhere `status` is that of a call.
        self.status, self.http_status, self.code, self.text = status, status, code, text
        super().__init__(f"{text} (HTTP {status}, {code})")


# Code that retries after a ConnectionError of any client handles this one, too.
class ApiUnreachable(DurableMontyError, ConnectionError):
    """No response came. The server may have received the request, or not."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"The server did not answer {path}: {why}")


class InvalidToken(DurableMontyError):
    def __init__(self) -> None:
        # The token is a credential, so no message and no log repeats it.
        super().__init__("The token was not made here, or not with the present SECRET_KEY.")


class TokenExpired(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("The time in which this token could be used is over.")


class InvalidSecret(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "Show the webhook secret of an executor: as a bearer token in the header "
            "Authorization, or by a signature that was made just now."
        )


class TooManyRefusals(DurableMontyError):
    """One address sent too many wrong secrets; it may try again after `seconds`."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(
            "Too many requests with a wrong token or secret came from this address. Try again in "
            f"{seconds} seconds."
        )
