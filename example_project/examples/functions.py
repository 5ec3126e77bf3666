"""Ordinary functions, without Django or workflows."""

import time


def square(number: int) -> int:
    return number * number


def total(numbers: list[int]) -> int:
    time.sleep(0.1)
    return sum(numbers)
