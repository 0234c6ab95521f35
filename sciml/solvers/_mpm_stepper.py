"""One step of the material-point method, and how long it may be."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import lax

from sciml.materials import Material
from sciml.solvers import _mpm_transfer, _time
from sciml.solvers._mpm_walls import MARGIN, Scene, Solid, felt, held, mirrored, motion, touched

VISCOUS = 0.4  # Δt ν Σ 1/h² of the fastest step: explicit diffusion
CROWDING = 0.02  # times c/h: the rate at which matter is told where particles lie closer than it knows
TURN = 0.25  # Δt |∂v/∂x| of the longest step, below which no volume is turned inside out
ESCAPE = 0.01  # cells beyond a side that no rounding explains
BURST = 4.0  # times by which the least number of steps in a second grows within a step that was too long

#: what stopped a march, by the number that the state keeps
TROUBLES = ("", "a particle left the box", "the march became unstable", "values are not finite")


class MaterialPointStepper(_time.Stepper):
    """m dvᵢ/dt = −Σₚ Vₚ τₚ ∇wᵢₚ + mᵢ g: stresses at particles, momentum on the nodes of a grid, in leaps of velocity
    and place (kick, drift) that are of second order in time.

    State, vectors and tensors as lists of their components (N,): "position" in cells, the sides of the box midway
    between nodes; "velocity", which belongs to the time `since` / 2 before that of the positions; "gradient" of it,
    "stress" τ; what the material keeps; "rate" and "waves", see `_rates`; "trouble", the place in `TROUBLES`.

    Args:
        volume: (N,) first volumes; 0 for particles that only fill the arrays.
        lower, spacing: (D,) corner of the box and edges of cells, m.
        gravity: (D,).
        friction: (2 D,) of the sides.

    Source: Y. Hu, Y. Fang, Z. Ge, Z. Qu, Y. Zhu, A. Pradhana, C. Jiang, ACM Trans. Graph. 37, 150 (2018).
    """

    begins_settled = True

    def __init__(
        self, scene: Scene, material: Material, volume: Any, lower: Any, spacing: Any, gravity: Any, friction: Any,
        bodies: tuple[Solid, ...], cfl: float, portion: int | None,
    ):  # fmt: skip
        self.scene, self.material, self.cfl, self.portion = scene, material, cfl, portion
        self.volume, self.mass = volume, material.density * volume
        self.there = volume > 0
        self.lower, self.spacing, self.gravity = lower, spacing, gravity
        self.friction, self.bodies = friction, bodies
        still = jnp.zeros_like(lower)
        self.standing = [
            None if moves else felt(solid, still, lower, spacing, scene.shape)
            for solid, (_, moves) in zip(bodies, scene.bodies, strict=True)
        ]
        knots = [jnp.max(jnp.abs(solid.velocity) / spacing) for solid in bodies]
        self._bodies_rate = reduce(jnp.maximum, knots, jnp.zeros((), lower.dtype))
        viscosity = jnp.asarray(material.viscosity(), lower.dtype)
        self.diffusion = viscosity * jnp.sum(1 / spacing**2) / VISCOUS

    def start(self, position: Any, velocity: Any, gradient: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """A state whose velocity belongs to the time of the positions.

        Args:
            position: (D, N) in cells.
            velocity, gradient: (D, N), (D, D, N).
            kept: what the material keeps, as arrays.
        """
        zero = jnp.zeros((), position.dtype)
        position, velocity = list(position), list(velocity)
        gradient = rows(gradient)
        kept = {n: rows(v) if v.ndim == 3 else v for n, v in kept.items()}
        stress = self.material.stress(jnp, kept, gradient)
        return {
            "position": position, "velocity": velocity, "gradient": gradient, "stress": stress, "kept": kept,
            "since": zero, "trouble": zero, **self._rates(velocity, gradient, kept),
        }  # fmt: skip

    def step(self, state: Any, time: Any, remaining: Any) -> tuple[Any, Any, Any]:
        steps = remaining * state["rate"]
        size = remaining / jnp.maximum(jnp.ceil(steps), 1.0)
        velocity, gradient, dense = self._kicked(state, (state["since"] + size) / 2, time + size / 2)
        cells = [x + size * v / h for x, v, h in zip(state["position"], velocity, self.spacing, strict=True)]
        kept = state["kept"]
        if dense is not None:
            kept = self.material.crowded(jnp, kept, 1 / dense, jnp.minimum(CROWDING * state["waves"] * size, 1.0))
        kept, stress = self.material.update(jnp, kept, gradient, size)
        low = MARGIN - 0.5
        ends = [(x, low + n) for x, n in zip(cells, self.scene.cells, strict=True)]
        beyond = _most(reduce(jnp.maximum, [jnp.maximum(low - x, x - high) for x, high in ends]))
        cells = [jnp.clip(x, low, high) for x, high in ends]  # of what rounding adds
        rates = self._rates(velocity, gradient, kept)
        rate = rates["rate"]
        trouble = jnp.where(beyond > ESCAPE, 1, jnp.where(rate > BURST * jnp.maximum(state["rate"], 1 / size), 2, 0))
        trouble = jnp.where(jnp.isfinite(beyond + rate), trouble, 3).astype(beyond.dtype)
        state = {
            "position": cells, "velocity": velocity, "gradient": gradient, "stress": stress, "kept": kept,
            "since": size, "trouble": trouble, **rates,
        }  # fmt: skip
        return state, size, jnp.where(trouble == 0, steps, jnp.nan)

    def settle(self, state: Any, time: Any) -> Any:
        def half(state: Any) -> Any:
            velocity, gradient, _ = self._kicked(state, state["since"] / 2, time)
            stress = self.material.stress(jnp, state["kept"], gradient)
            return {
                **state, "velocity": velocity, "gradient": gradient, "stress": stress,
                "since": jnp.zeros_like(state["since"]),
            }  # fmt: skip

        return lax.cond(state["since"] > 0, half, lambda state: state, state)

    def frame(self, state: Any, time: Any) -> dict[str, Any]:
        ratio = self.material.ratio(jnp, state["kept"])
        cells, velocity = jnp.stack(state["position"]), jnp.stack(state["velocity"])
        return {"cells": cells, "velocity": velocity, "density": self.material.density / ratio}

    def told(self, state: Any) -> dict[str, Any]:
        return {"trouble": state["trouble"]}

    def _rates(self, velocity: Any, gradient: Any, kept: Any) -> dict[str, Any]:
        """The least number of steps in a second, "rate", not finite where something is not; how many cells the fastest
        wave crosses in one, "waves"."""
        ways = self._bodies_rate
        for axis, h in enumerate(self.spacing):
            ways = jnp.maximum(ways, jnp.abs(velocity[axis]) / h)
        # one by one: a reduction over both axes would take ten times as long
        turns = reduce(jnp.maximum, [jnp.abs(g) for row in gradient for g in row])
        waves = self.material.speed(jnp, kept) / jnp.min(self.spacing)
        rate = jnp.maximum((waves + ways) / self.cfl + self.diffusion, turns / TURN)
        return lax.stop_gradient({"rate": _most(rate), "waves": _most(waves)})

    def _kicked(self, state: Any, kick: Any, time: Any) -> tuple[Any, Any, Any]:
        """Velocity and its gradient at particles after the forces of a time `kick`, bodies being where they are at
        `time`; and (N,) the density that the masses around a particle have, over that at rest, of matter that crowds.
        """
        h, mass = self.spacing, self.mass
        pushed = kick * self.volume
        affine = [
            [mass * g * step - pushed * t * (4 / step) for g, t, step in zip(*row, h, strict=True)]
            for row in zip(state["gradient"], state["stress"], strict=True)
        ]
        own = [mass * v for v in state["velocity"]]
        momentum, heavy = _mpm_transfer.to_nodes(state["position"], own, affine, mass, self.scene.shape, self.portion)
        full = heavy > 0
        nodes = momentum / jnp.where(full, heavy, 1.0)[..., None] + kick * self.gravity
        for solid, (grip, moves), known in zip(self.bodies, self.scene.bodies, self.standing, strict=True):
            speed, far = motion(solid, time) if moves else (jnp.zeros_like(h), None)
            near, normal = felt(solid, far, self.lower, h, self.scene.shape) if known is None else known
            nodes = touched(nodes, near, normal, speed, solid.friction, grip)
        nodes = held(nodes, heavy, self.scene, self.friction)
        nodes = jnp.where(full[..., None], nodes, 0.0)
        if self.material.crowds:
            dense = mirrored(heavy, self.scene) / (self.material.density * jnp.prod(h))
            nodes = jnp.concatenate([nodes, dense[..., None]], -1)
        found, moments = _mpm_transfer.to_particles(nodes, state["position"], self.portion)
        there = self.there.astype(mass.dtype)  # what only fills the arrays stays where it is
        d = len(self.scene.cells)
        velocity = [v * there for v in found[:d]]
        gradient = [[m * (4 / step) * there for m, step in zip(row, h, strict=True)] for row in moments]
        return velocity, gradient, jnp.where(self.there, found[d], 1.0) if self.material.crowds else None


def _most(values: Any) -> Any:
    """The largest of (..., N): first of each eighth place, which compiles to vectors, where N allows."""
    if values.shape[-1] % 8 == 0:
        values = values.reshape(-1, 8).max(0)
    return jnp.max(values)


def rows(tensor: Any) -> list[list[Any]]:
    """The components of (D, D, N)."""
    return [list(row) for row in tensor]
