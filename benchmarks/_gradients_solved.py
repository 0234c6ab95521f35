"""J(u) of a flow by its solver, in double precision: reverse mode through `simulate`, and differences.

J depends on u through the arrays that `simulate` takes, dJ/du_k = Σ ∂J/∂a · ∂a/∂u_k: the first factor is reverse
mode's, the second that of arithmetic without any flow, and is differenced. A radius is among them: a body is arrays of
how open faces are, of distances, and of what the direct solver works out from them.

Differences of J itself are central ones of fourth order, once as the solver is, and once with the steps in time held
still: a solver chooses how many steps it takes, and where that number changes with u its answer jumps a little, which
no derivative of the discrete solution knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._gradients_flows import Asked
from sciml.solvers import TwoPhaseFlow, _flow_stepper, _two_phase_stepper

ARRAYS = 1e-4  # of the size of a number: step of the differences of arrays
STEPS = (1e-2, 1e-4, 1e-6)  # of the size of a number: of the differences of J
ROOM = 256  # steps in time that a table of them has room for, or a multiple
FAR = 1e30


class Solved:
    """The solver of a flow, as programs that are compiled once.

    Args:
        flow: what is asked.
    """

    def __init__(self, flow: Asked):
        self.flow = flow
        self.solvers = {way: flow.solver(way) for way in ("forward", "reverse")}
        case = flow.made(flow.middle)
        self.ends = self.solvers["forward"].ends(case)
        self.tree, self.whole = None, []  # of `arrays`
        self.value_of = jax.jit(lambda a, whole: self._value("forward", a, whole)[0])
        self.slopes_of = jax.jit(jax.value_and_grad(lambda a, whole: self._value("reverse", a, whole), has_aux=True))
        self.held_value_of = jax.jit(self._held)
        self.noted_value_of, self.noted = jax.jit(self._noted), []

    def arrays(self, u: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What `simulate` takes: numbers that change, and whole numbers that do not."""
        leaves, tree = jax.tree.flatten(self.solvers["forward"].arrays(self.flow.made(u)))
        leaves = [np.asarray(leaf) for leaf in leaves]
        self.tree, self.whole = tree, [leaf.dtype.kind != "f" for leaf in leaves]
        return ([a for a, w in zip(leaves, self.whole, strict=True) if not w],
                [a for a, w in zip(leaves, self.whole, strict=True) if w])  # fmt: skip

    def _value(self, way: str, floats: Any, whole: Any) -> tuple[Any, Any]:
        first, second = iter(floats), iter(whole)
        leaves = [next(second) if w else next(first) for w in self.whole]
        parameters, inputs = jax.tree.unflatten(self.tree, leaves)
        found = self.solvers[way].simulate(parameters, inputs, self.flow.times, self.ends)
        return self.flow.value(found, parameters), found["substeps"].sum()

    def value(self, u: np.ndarray) -> float:
        with jax.enable_x64(True):
            return float(self.value_of(*self.arrays(u)))

    def gradient(self, u: np.ndarray) -> tuple[float, np.ndarray, int]:
        """J, dJ/du and how many steps it took."""
        with jax.enable_x64(True):
            floats, whole = self.arrays(u)
            (value, steps), slopes = self.slopes_of(floats, whole)
            slopes = [np.asarray(s) for s in slopes]
        found = np.zeros(len(u))
        for k, size in enumerate(self.flow.sizes):
            ends = []
            for far in (1, -1, 2, -2):
                moved = np.array(u)
                moved[k] += far * ARRAYS * size
                there, others = self.arrays(moved)
                if any(a.shape != b.shape for a, b in zip(there, floats, strict=True)) or any(
                    not np.array_equal(a, b) for a, b in zip(others, whole, strict=True)
                ):
                    raise ValueError(f"{self.flow.name}: u[{k}] changes which cells a body touches at {u[k]:g}")
                ends.append(there)
            for slope, up, down, upper, lower in zip(slopes, *ends, strict=True):
                found[k] += float(np.sum(slope * (8 * (up - down) - (upper - lower)))) / (12 * ARRAYS * size)
        return float(value), found, int(steps)

    def differences(self, u: np.ndarray, held: bool) -> np.ndarray:
        """(step, K) dJ/du by central differences of fourth order, with these of `STEPS`."""
        table = self.plan(u) if held else None

        def value(at: np.ndarray) -> float:
            if table is None:
                return self.value(at)
            with jax.enable_x64(True):
                return float(self.held_value_of(*self.arrays(at), table))

        found = np.zeros((len(STEPS), len(u)))
        for (i, step), (k, size) in ((a, b) for a in enumerate(STEPS) for b in enumerate(self.flow.sizes)):
            e = np.where(np.arange(len(u)) == k, step * size, 0.0)
            near, far = (value(u + s * e) - value(u - s * e) for s in (1, 2))
            found[i, k] = (8 * near - far) / (12 * step * size)
        return found

    # -- steps in time that are held -----------------------------------------------------------------------------

    @property
    def _kind(self) -> Callable[..., Any]:
        return _two_phase if isinstance(self.solvers["forward"], TwoPhaseFlow) else _one_phase

    def plan(self, u: np.ndarray) -> np.ndarray:
        """(step, number) when each step of u begins, and what was chosen there."""
        self.noted.clear()
        with jax.enable_x64(True):
            jax.block_until_ready(self.noted_value_of(*self.arrays(u)))
            jax.effects_barrier()
        found = np.unique(np.array(self.noted), axis=0)
        room = -(-len(found) // ROOM) * ROOM
        empty = np.full((room - len(found), found.shape[1]), FAR)
        return np.concatenate([found, empty])

    def _noted(self, floats: Any, whole: Any) -> Any:
        with self._kind(lambda *chosen: _note(self.noted, chosen), None):
            return self._value("forward", floats, whole)[0]

    def _held(self, floats: Any, whole: Any, table: Any) -> Any:
        with self._kind(None, table):
            return self._value("forward", floats, whole)[0]


def _note(rows: list[np.ndarray], chosen: tuple[Any, ...]) -> None:
    """Within a program: append these numbers to `rows` when it comes by."""
    numbers = jnp.stack([jnp.asarray(n, jnp.float64) for n in chosen])
    # as pairs of integers: a callback's thread knows nothing of double precision
    jax.debug.callback(
        lambda bits: rows.append(np.asarray(bits).view(np.float64)[:, 0].copy()),
        jax.lax.bitcast_convert_type(numbers, jnp.int32),
    )


@contextmanager
def _one_phase(note: Callable[..., None] | None, table: Any) -> Iterator[None]:
    """Within, flows of one fluid tell their plan of steps, or take that of a table."""
    own = _flow_stepper.plan

    def plan(flow: Any, cfl: Any, u: Any, v: Any, time: Any, remaining: Any) -> Any:
        if note is not None:
            found = own(flow, cfl, u, v, time, remaining)
            note(time, *found)
            return found
        row = table[jnp.argmin(jnp.abs(table[:, 0] - time))]
        return row[1], row[2], row[3].astype(int), row[4].astype(int)

    try:
        _flow_stepper.plan = plan
        yield
    finally:
        _flow_stepper.plan = own


@contextmanager
def _two_phase(note: Callable[..., None] | None, table: Any) -> Iterator[None]:
    """Likewise, flows of two fluids; with the steps go the stages of viscosity."""
    stepper, now = _two_phase_stepper.TwoPhaseStepper, SimpleNamespace(time=None, chosen=None)
    own_step, own_plan, own_stages = stepper.step, stepper.plan, _two_phase_stepper._stages

    def row() -> Any:
        return table[jnp.argmin(jnp.abs(table[:, 0] - now.time))]

    def step(self: Any, state: Any, time: Any, remaining: Any) -> Any:
        now.time = time
        try:
            return own_step(self, state, time, remaining)
        finally:
            now.time = None

    def plan(self: Any, state: Any, remaining: Any) -> Any:
        if now.time is None:  # the small step before a march
            return own_plan(self, state, remaining)
        if note is None:
            return row()[1], row()[2]
        now.chosen = own_plan(self, state, remaining)
        return now.chosen

    def stages(controls: Any, rhs: Any, u0: Any, v0: Any, tau: Any, rate: Any) -> Any:
        if now.time is not None and note is not None:
            note(now.time, *now.chosen, rate)
        elif now.time is not None:
            rate = row()[3]
        return own_stages(controls, rhs, u0, v0, tau, rate)

    try:
        stepper.step, stepper.plan, _two_phase_stepper._stages = step, plan, stages
        yield
    finally:
        stepper.step, stepper.plan, _two_phase_stepper._stages = own_step, own_plan, own_stages
