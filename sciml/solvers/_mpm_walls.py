"""What holds matter on the grid of a material-point method: the sides of a box, and bodies that stand or move.

Sides lie midway between two layers of nodes. Of the velocity field, which is half the sum of both there, a side takes
by one impulse λ on both layers, shared as their masses tell, what goes into it (a side pushes, never pulls), and up to
μ λ of what goes along it; one that sticks takes all. It is then exactly at rest at the side, so that no particle
crosses it, and matter at a side feels its own mirror image.

Bodies are known by their signed distance φ on a lattice of their own. A node in one takes the velocity that the body's
condition asks for, one farther than a cell away keeps its own, and between both are blended smoothly: what comes out is
differentiable in place and motion of a body.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sciml.walls import Body, Wall

if TYPE_CHECKING:
    from jaxtyping import Float

MARGIN = 2  # layers of nodes beyond a side
PLACES = {2: 129, 3: 49}  # of the lattice of a body, along each axis
REACH = 1.0  # cells over which a body's condition fades


class Grip(Enum):
    """How a side or a body touches matter, as far as it makes different code."""

    SLIPS = "slips"
    RUBS = "rubs"
    STICKS = "sticks"

    @staticmethod
    def of(wall: Wall) -> Grip:
        if not wall.separates:
            return Grip.STICKS
        return Grip.RUBS if wall.friction else Grip.SLIPS


class Scene(NamedTuple):
    """What is known when a march is compiled.

    Args:
        material: class of the material.
        cells: of the box along x, y[, z].
        sides: in the order x_min, x_max, y_min, ...
        bodies: how each grips, and whether it moves.
    """

    material: type
    cells: tuple[int, ...]
    sides: tuple[Grip, ...]
    bodies: tuple[tuple[Grip, bool], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each axis."""
        return tuple(n + 2 * MARGIN for n in self.cells)


class Solid(NamedTuple):
    """A body as arrays.

    Args:
        place: (D,) by how much it is moved from where it was sampled, m.
        distance: (n, ...) φ, m, positive outside of it.
        origin, step: (D,) of the lattice of `distance`, m.
        friction: Coulomb's coefficient.
        times, velocity: (K,), (K, D) knots of its motion.
    """

    place: Any
    distance: Any
    origin: Any
    step: Any
    friction: Any
    times: Any
    velocity: Any


def sampled(body: Body, spacing: Float[np.ndarray, " d"]) -> Solid:
    """A body's arrays, known as far as matter may feel it.

    Args:
        spacing: (D,) of the grid.
    """
    d = body.shape.dimensions
    low, high = np.array(body.shape.extents, np.float64).T
    around = (REACH + 2.0) * float(spacing.max())
    low, high = low - around, high + around
    axes = [np.linspace(a, b, PLACES[d]) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    if body.motion:
        times = np.unique(np.concatenate([s.times for s in body.motion]))
        velocity = body.velocity(times)
    else:
        times, velocity = np.zeros(1), np.zeros((1, d))
    friction = 0.0 if not body.condition.separates else body.condition.friction
    step = (high - low) / (PLACES[d] - 1)
    return Solid(np.zeros(d), body.distance(points), low, step, np.float64(friction), times, velocity)


def motion(solid: Solid, time: Any) -> tuple[Any, Any]:
    """(D,) velocity and how far the body has come since t = 0; its velocity is linear between knots and kept beyond."""
    knots, values = solid.times, solid.velocity
    if knots.shape[0] == 1:
        return values[0], values[0] * time
    steps = jnp.diff(knots)
    until = jnp.concatenate(
        [jnp.zeros_like(values[:1]), jnp.cumsum(steps[:, None] * (values[1:] + values[:-1]), 0) / 2]
    )

    def since_first(t: Any) -> tuple[Any, Any]:
        inner = jnp.clip(t, knots[0], knots[-1])
        k = jnp.clip(jnp.searchsorted(knots, inner, side="right") - 1, 0, knots.shape[0] - 2)
        after = inner - knots[k]
        now = values[k] + (values[k + 1] - values[k]) * (after / steps[k])
        return now, until[k] + after * (values[k] + now) / 2 + (t - inner) * now

    velocity, far = since_first(time)
    return velocity, far - since_first(jnp.zeros_like(time))[1]


def felt(solid: Solid, moved: Any, lower: Any, spacing: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(*shape,) how much each node feels a body, 0 to 1, and (*shape, D) its normal there, away from the body.

    Args:
        moved: (D,) how far it has come.
        lower, spacing: (D,) corner of the box and edges of cells.
        shape: nodes along each axis.
    """
    distance = solid.distance
    for axis, n in enumerate(shape):
        nodes = lower[axis] + (jnp.arange(n) - MARGIN + 0.5) * spacing[axis]
        at = (nodes - moved[axis] - solid.place[axis] - solid.origin[axis]) / solid.step[axis]
        at = jnp.clip(at, 0.0, distance.shape[axis] - 1.0)
        k = jnp.clip(at.astype(jnp.int32), 0, distance.shape[axis] - 2)
        f = (at - k).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        distance = (1 - f) * jnp.take(distance, k, axis) + f * jnp.take(distance, k + 1, axis)
    slopes = jnp.stack([jnp.gradient(distance, axis=a) / spacing[a] for a in range(len(shape))], -1)
    normal = slopes / jnp.sqrt(jnp.sum(slopes**2, -1, keepdims=True) + 1e-12)
    near = jnp.clip(1 - distance / (REACH * jnp.min(spacing)), 0.0, 1.0)
    return near**2 * (3 - 2 * near), normal


def touched(velocity: Any, near: Any, normal: Any, own: Any, friction: Any, grip: Grip) -> Any:
    """(*shape, D) velocities of nodes that feel a body.

    Args:
        own: (D,) velocity of the body.
    """
    if grip is Grip.STICKS:
        return velocity + near[..., None] * (own - velocity)
    against = velocity - own
    away = jnp.sum(against * normal, -1, keepdims=True)
    push = jnp.maximum(-away, 0.0)
    change = push * normal
    if grip is Grip.RUBS:
        along = against - away * normal
        size = jnp.sqrt(jnp.sum(along**2, -1, keepdims=True) + 1e-30)
        change = change - jnp.minimum(1.0, friction * push / size) * along
    return velocity + near[..., None] * change


def held(velocity: Any, mass: Any, scene: Scene, friction: Any) -> Any:
    """(*shape, D) velocities between the sides of the box.

    Args:
        friction: (2 D,) coefficients of the sides.
    """
    places = [(axis, end) for axis in range(len(scene.cells)) for end in (0, 1)]
    for (axis, end), grip, coefficient in zip(places, scene.sides, friction, strict=True):
        velocity = _side(velocity, mass, scene, axis, end, grip, coefficient)
    if any(grip is not Grip.SLIPS for grip in scene.sides):
        for axis, end in places:  # in a corner, what one side takes along itself changes what goes into another
            velocity = _side(velocity, mass, scene, axis, end, Grip.SLIPS, 0.0)
    return velocity


def mirrored(mass: Any, scene: Scene) -> Any:
    """(*shape,) what nodes hold and what their images behind the sides do: at a side, all that is around a place."""
    for axis, n in enumerate(scene.cells):
        for k in range(MARGIN):
            for outer, inner in ((MARGIN - 1 - k, MARGIN + k), (MARGIN + n + k, MARGIN + n - 1 - k)):
                there, here = ((slice(None),) * axis + (at,) for at in (outer, inner))
                both = mass[there] + mass[here]
                mass = mass.at[there].set(both).at[here].set(both)
    return mass


def _side(velocity: Any, mass: Any, scene: Scene, axis: int, end: int, grip: Grip, friction: Any) -> Any:
    """Velocities beside one side, the lower (0) or upper (1) end of an axis."""
    inner = MARGIN if end == 0 else MARGIN + scene.cells[axis] - 1
    outer = inner - 1 if end == 0 else inner + 1
    out, into = ((slice(None),) * axis + (k,) for k in (outer, inner))
    light, total = mass[into], mass[out] + mass[into]
    share = jnp.where(total > 0, light / jnp.where(total > 0, total, 1.0), 0.5)  # of the outer layer
    at = velocity[out] + velocity[into]  # twice the velocity at the side
    normal = at[..., axis]
    lost = jnp.minimum(normal, 0.0) if end == 0 else jnp.maximum(normal, 0.0)
    if grip is Grip.SLIPS:
        velocity = velocity.at[(*out, ..., axis)].add(-share * lost)
        return velocity.at[(*into, ..., axis)].add(-(1 - share) * lost)
    if grip is Grip.STICKS:
        gone = at
    else:
        along = at.at[..., axis].set(0.0)
        size = jnp.sqrt(jnp.sum(along**2, -1) + 1e-30)
        gone = (jnp.minimum(1.0, friction * jnp.abs(lost) / size)[..., None] * along).at[..., axis].set(lost)
    velocity = velocity.at[out].add(-share[..., None] * gone)
    return velocity.at[into].add(-(1 - share)[..., None] * gone)
