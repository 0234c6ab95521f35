"""Vector-Jacobian products of the flow solvers against finite differences, and over many steps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.problems import Burgers, CylinderFlow, TaylorGreen
from sciml.solvers import FiniteVolume, IncompressibleFlow, PseudoSpectral, _flow_stepper

MODES = 8
DISTANCES = (1e-5, 1e-7, 1e-9, 1e-11)


@contextmanager
def steps_of(run: Callable[[], Any]) -> Iterator[None]:
    """Within, flows take the steps that `run` takes, whatever their velocities: a gradient of the discrete solution
    holds steps still, while differences jump wherever a plan changes. In double precision."""
    plan, taken = _flow_stepper.plan, []

    def noting(*arguments: Any) -> Any:
        found = plan(*arguments)
        numbers = jnp.stack([jnp.asarray(n, jnp.float64) for n in (arguments[4], *found)])
        # as pairs of integers: a callback's thread knows nothing of double precision
        jax.debug.callback(
            lambda bits: taken.append(np.asarray(bits).view(np.float64)[:, 0]),
            jax.lax.bitcast_convert_type(numbers, jnp.int32),
        )
        return found

    try:
        _flow_stepper.plan = noting
        jax.block_until_ready(run())
        jax.effects_barrier()
        at, sizes, steps, schemes, stages = np.array(sorted(map(tuple, taken))).T

        def held(flow: Any, cfl: Any, u: Any, v: Any, time: Any, remaining: Any) -> Any:
            k = jnp.argmin(jnp.abs(jnp.asarray(at) - time))
            return (*(jnp.asarray(a)[k] for a in (sizes, steps)), *(jnp.asarray(a, int)[k] for a in (schemes, stages)))

        _flow_stepper.plan = held
        yield
    finally:
        _flow_stepper.plan = plan


def compare(loss: Callable[[jax.Array], Any], at: np.ndarray, step: float) -> dict[str, Any]:
    """The gradient by reverse mode against central differences of fourth order, entry by entry; the loss gives its
    value and the steps that it took."""
    mine, steps = jax.jit(jax.grad(lambda q: loss(q), has_aux=True))(jnp.asarray(at))
    mine, loss = np.asarray(mine), jax.jit(lambda q, loss=loss: loss(q)[0])  # traced anew in each surrounding
    theirs = np.zeros_like(mine)
    for k in range(len(at)):
        e = np.zeros(len(at))
        e[k] = step
        near, far = ((float(loss(jnp.asarray(at + s * e))) - float(loss(jnp.asarray(at - s * e)))) for s in (1, 2))
        theirs[k] = (8 * near - far) / (12 * step)
    size = np.linalg.norm(mine) * np.linalg.norm(theirs)
    cosine = min(float(mine @ theirs / size), 1.0)
    return {
        "steps": int(steps), "cosine": cosine, "one_minus_cosine": 1 - cosine,
        "relative_difference": float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)),
        # each against itself, or a thousandth of the largest
        "worst_entry": float(np.max(np.abs(mine - theirs) / np.maximum(np.abs(theirs), 1e-3 * np.abs(theirs).max()))),
        "entries": len(at),
    }  # fmt: skip


def _modes(x: Any, y: Any) -> jax.Array:
    """(MODES, ny, nx) stream functions on the unit square that vanish with their slopes at its sides."""
    window = jnp.sin(jnp.pi * x) ** 2 * jnp.sin(jnp.pi * y) ** 2
    return jnp.stack([window * jnp.cos(k * jnp.pi * x) * jnp.cos(m * jnp.pi * y) for k in range(4) for m in range(2)])


def cavity(cells: int = 64) -> dict[str, Any]:
    """Energy, pressure and rates at two times, by the start, the lid and the viscosity."""
    solver = IncompressibleFlow(cells, dtype="float64")
    with jax.enable_x64(True):
        nodes = jnp.linspace(0, 1, cells + 1)
        modes = _modes(*jnp.meshgrid(nodes, nodes))

        def loss(q: jax.Array) -> Any:
            parameters = {"density": 1.0, "viscosity": 0.01 * q[MODES], "width": 1.0, "height": 1.0}
            lid = (jnp.asarray([0.0, 0.5]), jnp.stack([q[MODES + 1], q[MODES + 2]]))
            inputs = {"streamfunction": jnp.tensordot(q[:MODES], modes, 1), "y_max_u": lid}
            found = solver.simulate(parameters, inputs, jnp.asarray([0.25, 0.5]))
            return (
                jnp.mean(found["u"] ** 2 + found["v"] ** 2)
                + jnp.mean(found["p"] * found["u"])
                + jnp.mean(found["u_tendency"] ** 2),
                found["substeps"].sum(),
            )

        at = np.concatenate([0.05 * np.random.default_rng(0).standard_normal(MODES), [1.03, 0.93, 0.71]])
        # not 1: there a change would change the number of steps, and differences would jump
        return compare(loss, at, 1e-4) | {"cells": [cells, cells]}


def _cylinder(across: int, viscosity: float) -> tuple[Any, Any, dict[str, Any], dict[str, Any], Any]:
    solver = IncompressibleFlow((6 * across, 11 * across), dtype="float64")
    case = CylinderFlow().case(viscosity=viscosity)
    return (solver, case, *solver.arrays(case), solver.ends(case))


def drag_by_inflow(across: int = 6) -> dict[str, Any]:
    """Mean drag over two times by the velocity at each cell of the inlet."""
    with jax.enable_x64(True):
        solver, _, parameters, inputs, ends = _cylinder(across, 4e-3)

        def drag(profile: jax.Array) -> Any:
            given = inputs | {"x_min_u": (jnp.zeros(1), profile[None])}
            found = solver.simulate(parameters, given, jnp.asarray([0.01, 0.02]), ends)
            return jnp.mean(found["force"][:, 0]), found["substeps"].sum()

        return compare(drag, np.ones(6 * across), 1e-3) | {"cells": [6 * across, 11 * across]}


def cylinder(across: int = 6) -> dict[str, Any]:
    """Lift and energy by the start, the viscosity and the density."""
    with jax.enable_x64(True):
        solver, _, parameters, inputs, ends = _cylinder(across, 4e-3)
        nodes = jnp.meshgrid(jnp.linspace(0, 1, 11 * across + 1), jnp.linspace(0, 1, 6 * across + 1))
        modes, h = 1e-3 * _modes(*nodes), parameters["width"] / (11 * across)

        def loss(q: jax.Array) -> Any:
            psi = jnp.tensordot(q[:MODES], modes, 1)
            given = dict(inputs)
            given["u_face"] = inputs["u_face"] + jnp.diff(psi, axis=0) / h
            given["v_face"] = inputs["v_face"] - jnp.diff(psi, axis=1) / h
            changed = parameters | {"viscosity": 4e-3 * q[MODES], "density": 10.0 * q[MODES + 1]}
            found = solver.simulate(changed, given, jnp.asarray([0.01, 0.02]), ends)
            energy = jnp.mean(found["u"] ** 2 + found["v"] ** 2)
            return jnp.mean(found["force"][:, 1]) + 0.1 * energy, found["substeps"].sum()

        at = np.concatenate([np.random.default_rng(1).standard_normal(MODES), [1.0, 1.0]])
        # nearer than elsewhere: viscosity and density change the plan of steps
        free = compare(loss, at, 1e-5)
        with steps_of(lambda: jax.jit(lambda q: loss(q))(jnp.asarray(at))):
            held = compare(loss, at, 1e-3)
        held = {f"{k}_steps_held": held[k] for k in ("one_minus_cosine", "relative_difference", "worst_entry")}
        return free | held | {"cells": [6 * across, 11 * across]}


def vortices(cells: int = 64) -> dict[str, Any]:
    """The pseudo-spectral solver: decaying vortices by start, viscosity and density."""
    problem = TaylorGreen()
    solver = PseudoSpectral(cells, dtype="float64")
    with jax.enable_x64(True):
        case = problem.case(viscosity=0.01)
        parameters, inputs = solver.arrays(case)
        random = np.random.default_rng(2)
        waves = jnp.asarray(random.standard_normal((MODES, cells, cells)))
        keep = (np.abs(np.fft.fftfreq(cells, 1 / cells))[:, None] < 5) & (np.abs(np.fft.fftfreq(cells, 1 / cells)) < 5)
        waves = jnp.fft.ifft2(jnp.fft.fft2(waves) * keep).real

        def loss(q: jax.Array) -> Any:
            moved = jnp.tensordot(q[:MODES], waves, 1)
            given = inputs | {"u": inputs["u"] + moved, "v": inputs["v"] - moved[::-1]}
            found = solver.simulate(
                parameters | {"viscosity": 0.01 * q[MODES]}, given, jnp.asarray([0.25, 0.5]), problem
            )
            value = jnp.mean(jnp.sin(found["u"]) + found["p"] * found["v"]) + jnp.mean(found["u"] ** 2)
            return value, found["substeps"].sum()

        found = compare(loss, np.concatenate([0.2 * random.standard_normal(MODES), [1.0]]), 1e-3)
        return found | {"cells": [cells, cells]}


def burgers(cells: int = 128) -> dict[str, Any]:
    """The finite-volume solver: a wave that steepens, by its start and the viscosity."""
    problem = Burgers()
    solver = FiniteVolume(cells)
    with jax.enable_x64(True):
        case = problem.case(viscosity=0.02)
        grid = solver.grid(case)
        x = jnp.asarray(2 * np.pi * (grid.centres[0] - grid.faces[0][0]) / np.ptp(grid.faces[0]))
        waves = jnp.stack([f(k * x) for k in range(1, MODES // 2 + 1) for f in (jnp.sin, jnp.cos)])

        def loss(q: jax.Array) -> Any:
            found = solver.simulate(
                {"viscosity": 0.02 * q[MODES]}, {"initial": jnp.tensordot(q[:MODES], waves, 1)}, [0.1, 0.2], case
            )
            return jnp.mean(jnp.sin(3 * found["u"]) + found["u"] ** 2), steps

        steps = sum(solver.substeps(case, np.array([0.1, 0.2])))
        at = np.concatenate([0.5 * np.random.default_rng(3).standard_normal(MODES), [1.0]])
        return compare(loss, at, 1e-3) | {"cells": [cells]}


def horizon(steps: int, dtype: str) -> dict[str, Any]:
    """Drag of a wake by its inflow profile over about so many steps, in a process of its own: whether all is finite,
    what differences say (float64), and the most memory that it took."""
    command = [sys.executable, "-m", "benchmarks._flows_gradients", str(steps), dtype]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def _horizon(steps: int, dtype: str) -> dict[str, Any]:
    across, end = 8, steps * 2.1e-3
    solver = IncompressibleFlow((6 * across, 11 * across), dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        case = CylinderFlow().case(viscosity=2e-3)
        parameters, inputs = solver.arrays(case)
        ends = solver.ends(case)
        # faster above than below: from a symmetric start vortices would be shed by rounding alone, and it would decide
        # about the gradient
        base = 1 + 0.2 * jnp.linspace(-1, 1, 6 * across)

        def drag(profile: jax.Array) -> tuple[jax.Array, jax.Array]:
            given = inputs | {"x_min_u": (jnp.zeros(1), profile[None])}
            found = solver.simulate(parameters, given, jnp.asarray([end]), ends)
            return found["force"][-1, 0], found["substeps"][-1]

        began = time.perf_counter()
        (value, taken), slope = jax.jit(jax.value_and_grad(drag, has_aux=True))(base)
        slope = np.asarray(slope)
        seconds, memory, free, held = time.perf_counter() - began, _peak(), None, None
        if dtype == "float64":
            free = _off(drag, base, slope)
            with steps_of(lambda: jax.jit(lambda p: drag(p)[0])(base)):
                held = _off(drag, base, slope)
    return {
        "steps": int(taken), "dtype": dtype, "drag": float(value), "finite": bool(np.isfinite(slope).all()),
        "gradient_norm": float(np.linalg.norm(slope)) if np.isfinite(slope).all() else None, "seconds": seconds,
        "off_differences": free and free["best"], "off_differences_steps_held": held and held["best"],
        "differences": free, "differences_steps_held": held, "cells": [6 * across, 11 * across],
        "peak_memory_bytes": memory,
    }  # fmt: skip


def _off(drag: Callable, base: jax.Array, slope: np.ndarray) -> dict[str, Any]:
    """Relative difference of the slope's size from central differences along it, the best of several distances: where a
    plan of steps changes the solution jumps, the less likely the nearer, while rounding weighs the more."""
    size, compiled = float(np.linalg.norm(slope)), jax.jit(lambda p: drag(p)[0])
    errors = []
    for reach in DISTANCES:
        up, down = (float(compiled(base + s * reach * slope / size)) for s in (1, -1))
        errors.append(abs((up - down) / (2 * reach) / size - 1))
    known = [e if np.isfinite(e) else None for e in errors]
    return {"distances": DISTANCES, "all": known, "best": min(e for e in known if e is not None)}


def _peak() -> int | None:
    """Most memory of this process; what `getrusage` says may be its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_horizon(int(sys.argv[1]), sys.argv[2])))
