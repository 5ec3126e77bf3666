"""Functions of a shop, as an app has them in its functions.py."""

from durable_monty import register_function


class OrderError(ValueError):
    """An error of the shop, which workflows see as a ValueError."""


@register_function("shop_load_order")
def load_order(number: int) -> dict:
    return {"number": number, "total": 100, "lines": [10, 20, 70]}


@register_function("shop_charge")
async def charge(number: int, amount: float) -> str:
    return f"paid-{number}-{amount}"


@register_function("shop_notify")
def notify(text: str) -> None:
    """Sends a text to the customer."""


@register_function("shop_fail")
def fail(message):
    raise OrderError(message)


def not_registered(x):
    return x


LIMIT = 3
