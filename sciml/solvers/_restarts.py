"""A flow solver that is restarted frame after frame, as pure functions of its state: for training through it.

A state is (u, v) through all faces, (ny, nx + 1) and (ny + 1, nx); arguments of several cases have a leading axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError
from sciml.problem import Case
from sciml.solvers import _flow_batches, _flow_setup, _flow_stepper
from sciml.solvers._numerical import Begin
from sciml.solvers._promotion import standard
from sciml.solvers._staggered import faces, unknowns
from sciml.solvers.incompressible import IncompressibleFlow
from sciml.solvers.linear import Ends
from sciml.solvers.linear.direct import alike as of_one_size

Inputs = dict[str, Any]


def prepared(flow: IncompressibleFlow, case: Case, times: np.ndarray) -> tuple[dict[str, Any], Inputs]:
    """`parameters` and `inputs` of `simulate` that stay the same from frame to frame, in float64.

    Args:
        times: those that the case will be asked for, its start the first of them.
    """
    ny, nx = flow.resolution
    nothing = {"u_face": np.zeros((ny, nx + 1)), "v_face": np.zeros((ny + 1, nx))}
    parameters, inputs = flow.arrays(case, times, Begin(nothing, float(times[0])))
    return parameters, {k: v for k, v in inputs.items() if k not in (*nothing, "start", "settled")}


def ends_of(cases: Sequence[Case]) -> tuple[Ends, Ends]:
    """What the ends of all cases are.

    Raises:
        InputError: cases that differ in it.
    """
    found = {_flow_setup.ends_of(case) for case in cases}
    if len(found) > 1:
        raise InputError("data: the ends of some cases are walls where those of others are not, expected one kind")
    return found.pop()


def stacked(several: Sequence[tuple[dict[str, Any], Inputs]]) -> tuple[dict[str, Any], Inputs]:
    """Several of what `prepared` gives, with a leading axis; what some do not have is nothing there."""
    like: Inputs = {}
    for _, inputs in several:
        like = inputs | like
    if any(("body" in inputs) != ("body" in like) for _, inputs in several):
        raise InputError("data: some cases have bodies and others have none, expected one kind")
    full = []
    for parameters, inputs in several:
        still = {
            k: (np.zeros(1), *(np.zeros((1, *a.shape[1:])) for a in v[1:])) for k, v in like.items() if k != "body"
        }
        full.append((parameters, still | inputs))
    full = _flow_batches.alike(full)
    if "body" in like:
        factors = of_one_size([inputs["body"].factor for _, inputs in full])
        full = [(p, i | {"body": i["body"]._replace(factor=f)}) for (p, i), f in zip(full, factors, strict=True)]
    rows = [(p, {k: _flow_batches._padded(v) for k, v in i.items()}) for p, i in full]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def _shifted(inputs: Mapping[str, Any], start: Any) -> Inputs:
    """The same with times counted from `start`, so that rounding does not grow with how late it is."""
    return {k: (v[0] - start, *v[1:]) if _flow_setup.in_time(k, v) else v for k, v in inputs.items()}


def advanced(
    flow: IncompressibleFlow, ends: tuple[Ends, Ends], parameters: Any, inputs: Any, u: Any, v: Any, start: Any, dt: Any
) -> tuple[jax.Array, jax.Array]:
    """S_Δt of one case: the state `dt` after `start`, that which it is given made free of divergence first."""
    given = _shifted(inputs, start) | {"u_face": u, "v_face": v, "settled": jnp.ones(())}
    found = flow.simulate(parameters, given, jnp.stack([dt]), ends)
    return found["u_face"][0], found["v_face"][0]


@standard
def projected(
    flow: IncompressibleFlow, ends: tuple[Ends, Ends], parameters: Any, inputs: Any, u: Any, v: Any, start: Any
) -> tuple[jax.Array, jax.Array]:
    """P of one case: the state without divergence, with what goes through walls at `start`."""
    layout, made, _, _ = flow._flow(parameters, _shifted(inputs, start), ends)
    walls = made.walls(jnp.zeros_like(made.nu))
    a, b, *_ = _flow_stepper.project(made, *unknowns(layout, u, v), walls)
    return faces(layout, a, b, walls)
