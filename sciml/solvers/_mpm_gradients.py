"""Gradients of what becomes of particles by all that a material-point march is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.problem import Case
from sciml.solver import Differentiable
from sciml.solvers._mpm_walls import Scene, Solid
from sciml.solvers._numerical import since

if TYPE_CHECKING:
    from sciml.solvers.material_point import MaterialPoint


class Gradients(Differentiable):
    """What a solver of particles with `arrays`, `scene` and `simulate` adds to be asked for gradients; abstract."""

    def setup(self: Any, case: Case) -> dict[str, np.ndarray]:
        """What `simulate` is given, by name: numbers of the material and "gravity"; "position", "velocity", "volume" of
        particles; "friction" of the sides; of each body "body_<k>_place", "_distance", "_velocity" at its knots, ...
        """
        parameters, inputs = self.arrays(case)
        bodies = inputs.pop("bodies")
        inputs.pop("reference")
        found = {**parameters, **inputs}
        for k, solid in enumerate(bodies):
            found |= {f"body_{k}_{name}": value for name, value in solid._asdict().items()}
        return {n: np.asarray(v, dtype=np.float64) for n, v in found.items()}

    def value(
        self: Any, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]
    ) -> float:
        elapsed = since(0.0, times, self.dtype)
        with jax.enable_x64(self.dtype == "float64"):
            return float(_value(self, setup, elapsed, self.scene(case), goal, "forward"))

    def value_and_gradient(
        self: Any, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        elapsed = since(0.0, times, self.dtype)
        with jax.enable_x64(self.dtype == "float64"):
            found, slopes = _value_and_gradient(self, setup, elapsed, self.scene(case), goal)
        return float(found), {n: np.asarray(g, dtype=np.float64) for n, g in slopes.items()}


def _goal(
    solver: MaterialPoint, setup: Mapping[str, Any], times: Any, scene: Scene, goal: Callable[..., Any], way: str
) -> Any:
    """The goal of a march; NaN where it stopped."""
    numbers = {*(f.name for f in dataclasses.fields(scene.material)), "gravity"}
    parameters = {n: v for n, v in setup.items() if n in numbers}
    inputs = {n: v for n, v in setup.items() if n not in numbers and not n.startswith("body_")}
    bodies = tuple(Solid(*(setup[f"body_{k}_{n}"] for n in Solid._fields)) for k in range(len(scene.bodies)))
    frames = solver.marched(parameters, inputs | {"bodies": bodies}, times, scene, way)
    mass = jnp.asarray(parameters["density"]) * jnp.asarray(inputs["volume"])
    return goal(jnp, {"position": frames["position"], "velocity": frames["velocity"], "mass": mass})


@partial(jax.jit, static_argnames=("solver", "scene", "goal", "way"))
def _value(solver: Any, setup: Any, times: Any, scene: Scene, goal: Callable[..., Any], way: str) -> Any:
    return _goal(solver, setup, times, scene, goal, way)


@partial(jax.jit, static_argnames=("solver", "scene", "goal"))
def _value_and_gradient(solver: Any, setup: Any, times: Any, scene: Scene, goal: Callable[..., Any]) -> Any:
    return jax.value_and_grad(lambda s: _goal(solver, s, times, scene, goal, "reverse"))(setup)
