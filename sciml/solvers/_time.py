"""Marching anything to requested times: the one driver of all time steppers.

A stepper knows one step of its method; the march knows requested times, failure and differentiation. From each time to
the next it takes steps that the stepper chooses, the last of which ends there exactly. A march stops where values are
no longer finite, where so many steps remain that it would never end (values have grown without bound), or where an
interval takes more than `max_substeps`; what follows is NaN, so that nothing has to be raised inside compiled code.

The same code runs within JAX and, for steps that JAX cannot trace (`Controls.derivative` "none"), in Python on NumPy's
arrays, where nothing is compiled for arrays of each new shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.solvers import _kept  # noqa: F401

State = Any  # any pytree of arrays
HOPELESS = 1e15  # steps before the next requested time


class Controls(NamedTuple):
    """Static choices.

    Args:
        max_substeps: between two requested times.
        checkpoints: states kept of an interval for reverse mode; the others are made again.
        derivative: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp, or none): which can be taken of the march;
            "none": Python's own loops, over steps of any kind.
    """

    max_substeps: int
    checkpoints: int
    derivative: str

    @property
    def arrays(self) -> Any:
        """The library whose arrays are marched."""
        return np if self.derivative == "none" else jnp

    def loop(self, going: Callable, body: Callable, start: Any, bound: int, checkpoints: int) -> Any:
        """A while loop that can be differentiated as `derivative` says."""
        if self.derivative == "none":
            while going(start):
                start = body(start)
            return start
        if self.derivative == "forward":
            return lax.while_loop(going, body, start)
        return eqxi.while_loop(going, body, start, max_steps=bound, checkpoints=checkpoints, kind="checkpointed")

    def scan(self, body: Callable, start: Any, ends: Any) -> Any:
        """`lax.scan` over the requested times."""
        if self.derivative != "none":
            return lax.scan(body, start, ends)
        found = []
        for each in zip(*ends, strict=True):
            start, out = body(start, each)
            found.append(out)
        return start, jax.tree.map(lambda *a: np.stack(a), *found)


class Stepper(ABC):
    """A method for ∂t state = f(state, t)."""

    #: whether a march begins with states that `settle` would leave as they are, and need not be compiled twice
    begins_settled: bool = False

    @abstractmethod
    def step(self, state: State, time: jax.Array, remaining: jax.Array) -> tuple[State, jax.Array, jax.Array]:
        """One step from `time` on, `remaining` before the next requested time.

        Returns:
            the state, the size of the step, and how many such steps the rest would take with this one: at most 1 for
            the last; not finite where the state was not.
        """

    @abstractmethod
    def frame(self, state: State, time: jax.Array) -> dict[str, jax.Array]:
        """What is reported at a requested time."""

    def settle(self, state: State, time: jax.Array) -> State:
        """The state at a requested time, before anything is made of it: what rounding has added is taken away."""
        return state

    def told(self, state: State) -> dict[str, jax.Array]:
        """What is reported of a state even if the march has stopped with it, such as why."""
        return {}


class Frames(NamedTuple):
    """A march, stacked over the requested times.

    Args:
        values: what `Stepper.frame` gives; NaN after a stop.
        substeps: since the last time.
        reached: how far it came: the requested time unless it stopped.
        state: at the last time.
        told: what `Stepper.told` gives, at each time or where it stopped before.
    """

    values: dict[str, jax.Array]
    substeps: jax.Array
    reached: jax.Array
    state: State
    told: dict[str, jax.Array]


def march(stepper: Stepper, controls: Controls, state: State, times: jax.Array, start: Any = 0.0) -> Frames:
    """Frames at `times`, from the state at time `start` on."""
    xp = controls.arrays

    def interval(carry: Any, ends: Any) -> Any:
        state, alive = carry
        before, stop = ends
        length = xp.where(alive, stop - before, 0)
        state, elapsed, count, finite = _advance(stepper, controls, state, before, length)
        told = stepper.told(state)
        state = stepper.settle(state, stop)
        alive = alive & finite & (elapsed >= length)
        known = jax.tree.map(lambda a: xp.where(alive, a, xp.nan), state)
        out = stepper.frame(known, stop), count, before + elapsed, told
        return (jax.tree.map(lambda a: xp.where(alive, a, 0), state), alive), out

    befores = xp.concatenate([xp.asarray(start, times.dtype)[None], times[:-1]])
    first = state if stepper.begins_settled else stepper.settle(state, befores[0])
    carry, (values, counts, reached, told) = controls.scan(interval, (first, xp.array(True)), (befores, times))
    state, alive = carry
    return Frames(values, counts, reached, jax.tree.map(lambda a: xp.where(alive, a, xp.nan), state), told)


def _advance(stepper: Stepper, controls: Controls, state: State, start: jax.Array, length: jax.Array) -> Any:
    """Over one interval: (state, time covered, steps taken, whether all is finite and the end in sight)."""
    xp = controls.arrays

    def going(carry: Any) -> jax.Array:
        _, elapsed, count, alive = carry
        return (elapsed < length) & alive & (count < controls.max_substeps)

    def body(carry: Any) -> Any:
        state, elapsed, count, _ = carry
        state, size, steps = stepper.step(state, start + elapsed, length - elapsed)
        finite = xp.isfinite(steps)  # of the state before this step: no other reduction is needed
        elapsed = xp.where(steps <= 1, length, elapsed + xp.where(finite, size, 0))
        return state, elapsed, count + 1, finite & (steps < HOPELESS)

    begin = (state, xp.zeros_like(length), xp.zeros((), int), xp.array(True))
    state, elapsed, count, finite = controls.loop(going, body, begin, controls.max_substeps, controls.checkpoints)
    total = sum(xp.sum(xp.abs(a)) for a in jax.tree.leaves(state))
    return state, elapsed, count, finite & xp.isfinite(total)
