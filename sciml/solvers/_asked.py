"""What a scheme asks a solver of equations for: its first request, caught before anything is solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _Caught(Exception):
    def __init__(self, request: tuple[Any, ...]):
        super().__init__("a request")
        self.request = request


class Listener:
    """Stands in for a solver of mass · storage + factor · A = known.

    Args:
        system: what steppers ask it for.
    """

    def __init__(self, system: Any = None):
        self.system = system

    def __call__(self, *request: Any) -> Any:
        raise _Caught(request)


def first_request(begin: Callable[[], Any]) -> tuple[Any, ...]:
    """(guess, time or data, mass, factor, known) of the first stage that `begin` asks a `Listener` for."""
    try:
        begin()
    except _Caught as caught:
        return caught.request
    raise AssertionError("nothing was asked for")
