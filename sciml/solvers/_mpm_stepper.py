"""One step of the material-point method, and how long it may be."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from sciml.materials import Material
from sciml.solvers import _mpm_transfer, _time
from sciml.solvers._mpm_walls import MARGIN, Scene, Solid, felt, held, mirrored, motion, touched

VISCOUS = 0.1  # Δt ν Σ 1/h² of the fastest step: explicit diffusion
CROWDING = 0.02  # times c/h: the rate at which matter is told where particles lie closer than it knows
TURN = 0.25  # Δt |∂v/∂x| of the longest step, below which no volume is turned inside out
ESCAPE = 0.01  # cells beyond a side that no rounding explains

#: what stopped a march, by the number that the state keeps
TROUBLES = ("", "a particle left the box", "the step was unstable: matter turned inside out", "values are not finite")


class MaterialPointStepper(_time.Stepper):
    """m dvᵢ/dt = −Σₚ Vₚ τₚ ∇wᵢₚ + mᵢ g: stresses at particles, momentum on the nodes of a grid, in leaps of velocity
    and place (kick, drift) that are of second order in time.

    State: "position" (D, N) in cells, the sides of the box midway between nodes; "velocity" (D, N), which belongs to
    the time `since` / 2 before that of the positions; "gradient" (D, D, N) of it, "stress" (D, D, N) τ; what the
    material keeps; "trouble", the place in `TROUBLES`.

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
        viscosity = jnp.asarray(material.viscosity(), lower.dtype)
        self.diffusion = viscosity * jnp.sum(1 / spacing**2) / VISCOUS

    def start(self, position: Any, velocity: Any, gradient: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """A state whose velocity belongs to the time of the positions.

        Args:
            position: (D, N) in cells.
            kept: what the material keeps.
        """
        zero = jnp.zeros((), position.dtype)
        stress = self.material.stress(jnp, kept, gradient)
        return {
            "position": position, "velocity": velocity, "gradient": gradient, "stress": stress, "kept": kept,
            "since": zero, "trouble": zero,
        }  # fmt: skip

    def step(self, state: Any, time: Any, remaining: Any) -> tuple[Any, Any, Any]:
        rate, waves = lax.stop_gradient(self._rates(state))
        steps = remaining * rate
        size = remaining / jnp.maximum(jnp.ceil(steps), 1.0)
        velocity, gradient, dense = self._kicked(state, (state["since"] + size) / 2, time + size / 2)
        cells = state["position"] + size * velocity / self.spacing[:, None]
        kept = state["kept"]
        if dense is not None:
            kept = self.material.crowded(jnp, kept, 1 / dense, jnp.minimum(CROWDING * waves * size, 1.0))
        kept, stress = self.material.update(jnp, kept, gradient, size)
        low = MARGIN - 0.5
        high = low + jnp.array(self.scene.cells, cells.dtype)[:, None]
        trouble = self._trouble(cells, gradient, size, low, high)
        cells = jnp.clip(cells, low, high)  # of what rounding adds
        state = {
            "position": cells, "velocity": velocity, "gradient": gradient, "stress": stress, "kept": kept,
            "since": size, "trouble": trouble,
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
        return {"cells": state["position"], "velocity": state["velocity"], "density": self.material.density / ratio}

    def told(self, state: Any) -> dict[str, Any]:
        return {"trouble": state["trouble"]}

    def _rates(self, state: Any) -> tuple[Any, Any]:
        """The least number of steps in a second, and how many cells the fastest wave crosses in one."""
        waves = jnp.max(self.material.speed(jnp, state["kept"])) / jnp.min(self.spacing)
        ways = jnp.max(jnp.abs(state["velocity"]) / self.spacing[:, None])
        for solid in self.bodies:
            ways = jnp.maximum(ways, jnp.max(jnp.abs(solid.velocity) / self.spacing))
        turns = jnp.max(jnp.abs(state["gradient"]))
        return jnp.maximum((waves + ways) / self.cfl + self.diffusion, turns / TURN), waves

    def _kicked(self, state: Any, kick: Any, time: Any) -> tuple[Any, Any, Any]:
        """Velocity and its gradient at particles after the forces of a time `kick`, bodies being where they are at
        `time`; and (N,) the density that the masses around a particle have, over that at rest, of matter that crowds.
        """
        h, mass = self.spacing, self.mass
        affine = mass * state["gradient"] * h[:, None] - kick * self.volume * state["stress"] * (4 / h)[:, None]
        momentum, heavy = _mpm_transfer.to_nodes(
            state["position"], mass * state["velocity"], affine, mass, self.scene.shape, self.portion
        )
        full = heavy > 0
        nodes = momentum / jnp.where(full, heavy, 1.0)[..., None] + kick * self.gravity
        for solid, (grip, moves), known in zip(self.bodies, self.scene.bodies, self.standing, strict=True):
            own, far = motion(solid, time) if moves else (jnp.zeros_like(h), None)
            near, normal = felt(solid, far, self.lower, h, self.scene.shape) if known is None else known
            nodes = touched(nodes, near, normal, own, solid.friction, grip)
        nodes = held(nodes, heavy, self.scene, self.friction)
        nodes = jnp.where(full[..., None], nodes, 0.0)
        if self.material.crowds:
            dense = mirrored(heavy, self.scene) / (self.material.density * jnp.prod(h))
            nodes = jnp.concatenate([nodes, dense[..., None]], -1)
        found, moments = _mpm_transfer.to_particles(nodes, state["position"], self.portion)
        there = self.there.astype(found.dtype)  # what only fills the arrays stays where it is
        d = len(self.scene.cells)
        return (
            found[:d] * there, moments * (4 / h)[:, None] * there,
            jnp.where(self.there, found[d], 1.0) if self.material.crowds else None,
        )  # fmt: skip

    def _trouble(self, cells: Any, gradient: Any, size: Any, low: float, high: Any) -> Any:
        total = jnp.sum(cells) + jnp.sum(gradient)
        out = jnp.any((cells < low - ESCAPE) | (cells > high + ESCAPE))
        turned = jnp.max(jnp.abs(gradient)) * size > 1.0
        found = jnp.where(out, 1, jnp.where(turned, 2, 0))
        return jnp.where(jnp.isfinite(total), found, 3).astype(cells.dtype)
