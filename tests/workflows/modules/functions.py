"""Functions of a shop, as an app has them in its functions.py."""

from durable_monty import register_function


@register_function
def load_order(number: int) -> dict:
    return {"number": number, "total": 100, "lines": [10, 20, 70]}


@register_function
async def charge(number: int, amount: float) -> str:
    return f"paid-{number}-{amount}"


@register_function("shop_notify")
def notify(text: str) -> None:
    """Sends a text to the customer."""


def not_registered(x):
    return x
