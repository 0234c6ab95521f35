"""Learning-rate schedules: pure functions of the share of training that is done.

Because a schedule has no state, a resumed run has the learning rate of an uninterrupted one by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sciml.errors import InputError, suggest


def one_cycle(share: float, warmup: float = 0.2, start: float = 0.04, final: float = 1e-3) -> float:
    """Cosine rise from `start` to 1 over the first `warmup`, cosine fall to `final` (Smith and Topin 2018)."""
    if share < warmup:
        return start + (1 - start) * (1 - math.cos(math.pi * share / warmup)) / 2
    return final + (1 - final) * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2


def cosine(share: float, warmup: float = 0.02, start: float = 0.0, final: float = 0.0) -> float:
    """Linear rise over the first `warmup`, then ½(1 + cos π·share) down to `final` (Loshchilov and Hutter 2017)."""
    if share < warmup:
        return start + (1 - start) * share / warmup
    return final + (1 - final) * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2


def linear(share: float, warmup: float = 0.05, start: float = 0.0, final: float = 0.0) -> float:
    """Linear rise over the first `warmup`, then a straight line down to `final`."""
    if share < warmup:
        return start + (1 - start) * share / warmup
    return 1 + (final - 1) * (share - warmup) / (1 - warmup)


def constant(share: float, warmup: float = 0.0, start: float = 0.0, final: float = 1.0) -> float:
    """1 throughout, after a linear rise over the first `warmup`."""
    return start + (1 - start) * share / warmup if share < warmup else 1.0


SCHEDULES: dict[str, Callable[..., float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}


def factor(name: str, step: int, steps: int, **options: float) -> float:
    """What multiplies the learning rate at `step` (from 0) of `steps`.

    Raises:
        InputError: an unknown schedule, or options out of range.
    """
    if name not in SCHEDULES:
        raise InputError(f"schedule: no schedule is called {name!r}{suggest(name, SCHEDULES)}")
    if not 0 <= options.get("warmup", 0.0) < 1:
        raise InputError(f"schedule: warmup is {options['warmup']}, expected a share of training in [0, 1)")
    # the middle of the step, so that neither the first nor the last one is spent at a rate of zero
    return SCHEDULES[name](min((step + 0.5) / max(steps, 1), 1.0), **options)
