"""Profiles of mean velocity and Reynolds stresses across a flow along walls."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.evaluation import _walls
from sciml.evaluation._layers import Layers
from sciml.evaluation._streamed import Group, Streamed, above_zero, average
from sciml.evaluation._walls import Walls, mirrored
from sciml.problem import Case
from sciml.support import Support

if TYPE_CHECKING:
    from jaxtyping import Float


class Profiles(Streamed):
    """Averages ⟨·⟩ over planes along the walls and over time, as functions of the distance y across them:

    U_i(y) = ⟨u_i⟩,  ⟨u_i'u_j'⟩ = ⟨u_i u_j⟩ − U_i U_j,  u_i,rms = √⟨u_i'²⟩,

    the stress balance along the mean flow U,

    τ/ρ = −⟨u'v'⟩ + ν dU/dy  against  τ_w/ρ (1 − y/h),  defect² = ∫(τ − τ_linear)² dy / ∫τ_linear² dy,

    to whose left side belongs what is `modelled`, of a flow that is not resolved,

    and wall units, y⁺ = y u_τ/ν, u⁺ = u/u_τ. u' is the departure from the mean over planes *and* time. In a developed
    flow that a constant force drives, the balance holds for long averages; its defect says how far the average, the
    viscosity of a scheme or the model of a surrogate is from that.

    u_τ is what is given, else what the case knows (`Problem.wall_units`), else √(ν |dU/dn|) with the slope of the mean
    at the walls (the parabola through the wall and the two cells beside it; the mean of both walls); `source` says
    which. The linear profile goes from u_τ² at the lower wall to −u_τ² at the upper one, or, with u_τ from the slopes,
    between the two viscous stresses that were found. Only sums are kept. Each mean has its standard error (`Blocking`;
    of stresses and rms to first order in the errors of the means).

    Sources: S. B. Pope, Turbulent Flows (2000), section 7.1; for the balance J. Kim, P. Moin, R. Moser, J. Fluid Mech.
    177, 133 (1987).

    Args:
        fold: whether to average both halves about the centre plane: the normal velocity and every stress with it once
            are odd, all else is even.
        friction_velocity: u_τ in the unit of the velocity; `viscosity`: ν, kinematic. None for what the case knows.
        walls: which ends of the axis across are walls, "min", "max".
        modelled: what a subgrid model carries, (velocity (component, *shape), support) -> (*shape) shear stress over
            density on planes along the walls, in the direction of the mean flow; a term of the balance, 0 at walls.
            `ChannelFlow.modelled_shear` is one. None for none.
        velocity, homogeneous, skip, name: see `Streamed`.

    Raises:
        InputError: no velocity among the fields, nodes, a mask, not one axis left to be across, cells that have no
            mirror image.
    """

    along = "place"

    def __init__(
        self,
        *,
        fold: bool = False,
        friction_velocity: float | None = None,
        viscosity: float | None = None,
        walls: Sequence[str] | str = ("min", "max"),
        modelled: Callable[[np.ndarray, Support], np.ndarray] | None = None,
        velocity: Sequence[str] | None = None,
        homogeneous: Sequence[str] | None = None,
        skip: int = 0,
        name: str = "profiles",
    ):
        super().__init__(name, velocity, homogeneous, skip)
        self.walls = _walls.checked(name, walls)
        if not isinstance(fold, bool):
            raise InputError(f"{name}: fold is {fold!r}, expected True or False")
        self.fold = fold
        if fold and len(self.walls) != 2:
            raise InputError(f"{name}: fold: expected walls at both ends, got {self.walls}")
        self.friction_velocity = above_zero(name, "friction_velocity", friction_velocity)
        self.viscosity = above_zero(name, "viscosity", viscosity)
        if modelled is not None and not callable(modelled):
            raise InputError(f"{name}: modelled: expected a function of velocity and support, got {modelled!r:.60}")
        self.modelled = modelled

    def place(self, support: Support, case: Case) -> tuple[Walls, Hashable]:
        layers = Layers.of(self.name, support, self.homogeneous)
        if self.fold:
            layers.require_mirror(self.name)
        walls = Walls.of(layers, self.walls, case, self.names(case)[layers.streamwise])
        return walls, layers.key()

    # -- one frame ------------------------------------------------------------------------------------------------

    def measure(
        self, velocity: Float[np.ndarray, " component *shape"], place: Walls
    ) -> Float[np.ndarray, "quantity layer"]:
        """Means of the components over each plane, means of their products, what is modelled, and the slope dU/dn at
        each wall (the same at all layers)."""
        layers = place.layers
        found = [layers.mean(u) for u in velocity]
        found += [layers.mean(velocity[i] * velocity[j]) for i, j in _pairs(len(velocity))]
        if self.modelled is not None:
            shear = np.asarray(self.modelled(velocity, layers.grid), np.float64)
            if shear.shape != layers.grid.shape:
                raise InputError(f"{self.name}: modelled: expected values {layers.grid.shape}, got {shear.shape}")
            found.append(layers.mean(shear))
        values = np.stack(found)
        along = values[layers.streamwise]
        slopes = [w @ along + c for w, c in (place.slope_weights(end) for end in place.ends)]
        if self.fold:
            signs = _parity(len(velocity), layers.normal)
            values = mirrored(values, np.append(signs, [-1.0] * (len(values) - len(signs))))
        return np.concatenate([values, np.repeat(np.array(slopes)[:, None], values.shape[1], axis=1)])

    # -- what they come to ----------------------------------------------------------------------------------------

    def entry(self, group: Group) -> dict[str, Any]:
        walls: Walls = group.place
        layers, names = walls.layers, self.names(group.case)
        d, n, pairs = len(names), len(layers.places), _pairs(len(names))
        kept = slice(0, (n + 1) // 2 if self.fold else n)
        found: dict[str, Any] = {
            "axis": layers.axis, "streamwise": names[layers.streamwise], "normal": names[layers.normal],
            "folded": self.fold, "place": layers.places[kept], "width": layers.widths[kept],
            "wall_distance": walls.distance[kept], "height": walls.height,
        }  # fmt: skip
        if group.blocking is None:
            return found | {"mean": {}, "covariance": {}, "rms": {}, "viscosity": None, "friction_velocity": None}
        q = group.blocking.mean
        covariance = {}
        for k, (i, j) in enumerate(pairs):
            weights = np.zeros(q.shape)  # of ⟨u_i u_j⟩ − U_i U_j by the means
            weights[d + k] = 1.0
            weights[i] -= q[j]
            weights[j] -= q[i]
            covariance[i, j] = (q[d + k] - q[i] * q[j], weights)
        found["mean"] = {names[i]: average(group, q[i], np.eye(len(q))[i][:, None]) for i in range(d)}
        found["covariance"] = {names[i] + names[j]: average(group, *covariance[i, j]) for i, j in pairs}
        found["rms"] = {}
        for i in range(d):
            square, weights = covariance[i, i]
            rms = np.sqrt(np.maximum(square, 0.0))
            slope = np.where(rms > 0, 0.5 / np.where(rms > 0, rms, 1.0), 0.0)
            found["rms"][names[i]] = average(group, rms, weights * slope)
        return found | self._balance(group, covariance[tuple(sorted((layers.streamwise, layers.normal)))], kept)

    def _balance(self, group: Group, shear: tuple[np.ndarray, np.ndarray], kept: slice) -> dict[str, Any]:
        """u_τ, wall units and the balance of stresses; nothing where the viscosity is not known."""
        known = group.case.problem.wall_units(group.case)
        viscosity = self.viscosity or (known[1] if known else None)
        if viscosity is None or group.blocking is None:
            return {"viscosity": None, "friction_velocity": None}
        walls: Walls = group.place
        layers, q = walls.layers, group.blocking.mean
        ends = walls.ends
        drag = viscosity * q[-len(ends) :, 0]  # ν dU/dn at each wall
        slope = float(np.sqrt(np.abs(drag).mean()))
        weights = np.zeros((len(q), 1))
        weights[-len(ends) :, 0] = viscosity * np.sign(drag) / (2 * len(ends) * slope) if slope > 0 else 0.0
        value, source, at_walls = slope, "slope of the mean at the walls", dict(zip(ends, drag, strict=True))
        if self.friction_velocity is not None:
            value, source = self.friction_velocity, "given"
        elif known and known[0] is not None:
            value, source = float(known[0]), "the case"
        if source != "slope of the mean at the walls":
            at_walls = {e: float(np.sign(t)) * value**2 for e, t in at_walls.items()}
        first, last = at_walls.get("min", 0.0), -at_walls.get("max", 0.0)  # as stresses on planes y = constant
        along = q[layers.streamwise]
        if self.fold:  # the streamwise mean is even about the centre plane
            along = np.concatenate([along, along[::-1][len(layers.places) % 2 :]])
        matrix, constant = walls.derivative_matrix()
        viscous = viscosity * (matrix @ along + constant)[kept]
        total, modelled = viscous - shear[0], {}
        if self.modelled is not None:
            at = len(q) - len(ends) - 1
            modelled["modelled"] = average(group, q[at], np.eye(len(q))[at][:, None])
            total = total + q[at]
        low, high = layers.ends
        linear = first + (last - first) * (layers.places[kept] - low) / (high - low)
        width = layers.widths[kept]
        size = float((linear**2 * width).sum())
        defect = float(np.sqrt(((total - linear) ** 2 * width).sum() / size)) if size > 0 else float("nan")
        return {
            "viscosity": viscosity,
            "friction_velocity": {
                "value": value, "source": source, "from_slope": slope,
                "standard_error_from_slope": float(group.blocking.error(weights).standard_error[0]),
                "reynolds": value * walls.height / viscosity,
            },
            "wall_distance_plus": walls.distance[kept] * value / viscosity,
            "stress": {
                "viscous": viscous, "reynolds": average(group, -shear[0], -shear[1]), **modelled, "total": total,
                "linear": linear, "relative_defect": defect,
            },
        }  # fmt: skip


def _pairs(d: int) -> list[tuple[int, int]]:
    return list(combinations_with_replacement(range(d), 2))


def _parity(d: int, normal: int) -> np.ndarray:
    """1 for what is even about the centre plane, −1 for what is odd: components, then their products."""
    one = [-1.0 if i == normal else 1.0 for i in range(d)]
    return np.array(one + [one[i] * one[j] for i, j in _pairs(d)])
