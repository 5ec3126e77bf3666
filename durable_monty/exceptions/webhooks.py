"""Errors of webhooks."""

from __future__ import annotations

from durable_monty.exceptions.base import DurableMontyError


class InvalidToken(DurableMontyError):
    def __init__(self) -> None:
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
