"""One scalar balance on control volumes that move: its flux relative to their faces, limited, and the steps in time.

For the control volume Cᵢ of a node, with V its content and ẋ the velocity of its faces,

    d/dt (Vᵢ uᵢ) = −Σ over faces (F(u⁻, u⁺) − k ∇u·n) + ∫ source,
    F = ½(f(u⁻)·n − ẋ·n u⁻ + f(u⁺)·n − ẋ·n u⁺) − ½ λ (u⁺ − u⁻),

λ the greater of |f′·n − ẋ·n| on both sides. On the edge from node i to node j

    u⁻ = uᵢ + ½ MC(uᵢ − u*, uⱼ − uᵢ),    u* = uⱼ − 2 ∇uᵢ·(xⱼ − xᵢ) within the range of uᵢ and its neighbours,

MC the monotonised central slope: with a velocity without divergence nothing new comes to be an extreme. ∇u at nodes is
the mean of the cells around, so that linear functions are reconstructed exactly; diffusion is that of linear elements.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sciml.boundary import Condition, Dirichlet, Flux, Outflow
from sciml.calculus import Derivative, expanded, slope, substituted, tangent
from sciml.derivatives.numpy import backend
from sciml.errors import InputError
from sciml.expressions import (
    ZERO,
    Coordinate,
    Expression,
    Field,
    Input,
    Rate,
    Time,
    evaluate,
    leaves,
    without_gradients,
)
from sciml.meshing._dual_cells import DualCells, Faces
from sciml.meshing._simplices import Points
from sciml.problem import Case, Problem
from sciml.solvers.shock_capturing import monotonised


class Law(NamedTuple):
    """∂t u + ∇·(f(u) − k(u) ∇u) = s, in parts.

    Args:
        carried: f by axis; speed: f′; spread: −k ∇u by axis, None where there is none; diffusivity: the diagonal of k;
            source: s.
    """

    field: str
    carried: tuple[Expression, ...]
    speed: tuple[Expression, ...]
    spread: tuple[Expression, ...] | None
    diffusivity: tuple[Expression, ...]
    source: Expression


def law_of(problem: Problem) -> Law | str:
    """The equation in parts; or what it is that does not fit."""
    balances = list(problem.balances().values())
    if problem.steady or problem.dimensions not in (1, 2):
        return "it is steady" if problem.steady else f"it has {problem.dimensions} dimensions of space"
    if len(problem.fields) != 1 or len(balances) != 1 or len(balances[0].components()) != 1:
        return "it has not one field with one scalar balance"
    field, d = Field(problem.fields[0].name), problem.dimensions
    ((storage, flux, source),) = balances[0].components()
    if storage != field:
        return "its balance stores another thing than the field itself"
    whole, inner = tuple(expanded(f, d) for f in flux), expanded(source, d)
    held = {leaf for e in (*whole, inner) for leaf in leaves(e)}
    if any(isinstance(leaf, Input | Rate) for leaf in held):
        return "its balance needs inputs"
    if any(isinstance(leaf, Derivative) for leaf in leaves(inner)):
        return "its source holds derivatives"
    carried = tuple(expanded(without_gradients(f), d) for f in flux)
    slopes = [tangent(f, (field.name,), d) for f in whole]
    parts = [c for by in slopes for (_, k), c in by.items() if k > 0]
    if any(isinstance(leaf, Derivative) for c in parts for leaf in leaves(c)) or any(
        getattr(leaf, "order", 0) > 1 for leaf in held
    ):
        return "its flux is not linear in the first derivatives"
    spread: tuple[Expression, ...] | None = None
    if parts:
        spread = tuple(f - c for f, c in zip(whole, carried, strict=True))
    diffusivity = tuple(-1.0 * by.get((field.name, 1 + a), ZERO) for a, by in enumerate(slopes))
    return Law(field.name, carried, tuple(slope(c, field) for c in carried), spread, diffusivity, inner)


class Growth(NamedTuple):
    """d/dt (V u) of all nodes, and 1/τ of the step of Euler's at which each still is a mean of its neighbours."""

    change: np.ndarray
    limit: np.ndarray


class Carried:
    """The balance of one case on the control volumes of a mesh.

    Args:
        case: of a problem whose law is known.
        dual: its control volumes.
        points: where the nodes are at first.

    Raises:
        InputError: a boundary without a condition, or with one that this scheme does not take.
    """

    def __init__(self, case: Case, dual: DualCells, points: Points):
        law = law_of(case.problem)
        assert isinstance(law, Law)
        self.case, self.dual, self.field = case, dual, law.field
        values = dict(case.parameters)
        self.carried = tuple(substituted(e, values) for e in law.carried)
        self.speed = tuple(substituted(e, values) for e in law.speed)
        self.spread = None if law.spread is None else tuple(substituted(e, values) for e in law.spread)
        self.diffusivity = tuple(substituted(e, values) for e in law.diffusivity)
        self.source = substituted(law.source, values)
        conditions = self._conditions()
        middles = points[dual.sides].mean(1)
        names = list(conditions)
        parts = case.geometry.boundaries
        nearest = np.stack([np.asarray(parts[n].distance(middles)) for n in names]).argmin(0)
        #: name -> condition, nodes that are given, parts of the boundary
        self.given: list[tuple[Condition, np.ndarray]] = []
        self.through: list[tuple[Condition, np.ndarray]] = []
        meet = np.full((dual.count, 2), [len(names), -1])
        for k, name in enumerate(names):
            condition, mine = conditions[name], nearest == k
            nodes = np.unique(dual.sides[mine])
            meet[nodes, 0], meet[nodes, 1] = np.minimum(meet[nodes, 0], k), np.maximum(meet[nodes, 1], k)
            if isinstance(condition, Dirichlet):
                self.given.append((condition, nodes))
            else:
                self.through.append((condition, np.flatnonzero(mine[dual.side])))
        #: nodes at which named boundaries meet, which have to stay
        self.held = np.flatnonzero(meet[:, 0] < meet[:, 1])

    def _conditions(self) -> dict[str, Condition]:
        found, name = {}, self.case.problem.name
        for boundary in self.case.geometry.boundaries:
            condition = self.case.boundary_conditions.get(boundary, {}).get(self.field)
            if not isinstance(condition, Dirichlet | Flux | Outflow):
                raise InputError(
                    f"moving_mesh: {name}: {boundary} has {condition!r:.60} for {self.field!r}, expected Dirichlet, "
                    "Flux or Outflow"
                )
            found[boundary] = condition
        return found

    def imposed(self, u: np.ndarray, points: np.ndarray, time: float) -> np.ndarray:
        """With the values that are given, in place."""
        for condition, nodes in self.given:
            u[nodes] = condition.at(time, points[nodes])
        return u

    def value(self, e: Expression, u: Any, points: np.ndarray, time: float, gradient: Any = None) -> Any:
        """An expression where the field is u."""

        def leaf(node: Expression) -> Any:
            match node:
                case Field():
                    return u
                case Derivative(_, alpha):
                    return gradient[:, alpha.index(1)]
                case Coordinate(axis):
                    return points[:, axis]
                case Time():
                    return time
            raise TypeError(f"unknown leaf {node!r}")

        return evaluate(e, leaf, leaf, backend.functions, {})

    def along(self, parts: Any, u: Any, points: np.ndarray, time: float, normals: np.ndarray) -> Any:
        """Σ parts · n."""
        found: Any = 0.0
        for axis, e in enumerate(parts):
            if e != ZERO:
                found = found + self.value(e, u, points, time) * normals[:, axis]
        return found

    def rate(self, u: np.ndarray, faces: Faces, volumes: np.ndarray, time: float) -> Growth:
        """At values of the nodes.

        Args:
            volumes: of the control volumes halfway through the step.
            time: halfway through the step.
        """
        dual, first, second = self.dual, self.dual.first, self.dual.second
        inside = np.einsum("ckd,ck->cd", faces.slopes, u[dual.cells])
        at_nodes = dual.around @ (inside * (faces.content / dual.cells.shape[1])[:, None]) / volumes[:, None]
        rise = u[second] - u[first]
        edge = faces.points[second] - faces.points[first]
        low, high = dual.range(u)
        behind = np.clip(u[second] - 2 * (at_nodes[first] * edge).sum(1), low[first], high[first])
        ahead = np.clip(u[first] + 2 * (at_nodes[second] * edge).sum(1), low[second], high[second])
        left = u[first] + monotonised(u[first] - behind, rise) / 2
        right = u[second] - monotonised(ahead - u[second], rise) / 2
        outer = u[dual.owner]
        stream = self._stream(faces, time)
        if stream is not None:
            flows, leaving = stream
            speed = np.abs(flows - faces.swept)
            flux = (flows - faces.swept) * (left + right) / 2
            out = leaving * outer
        else:
            here = (faces.middles, time, faces.normals)
            speed = np.maximum(*(np.abs(self.along(self.speed, s, *here) - faces.swept) for s in (left, right)))
            flux = (self.along(self.carried, left, *here) + self.along(self.carried, right, *here)) / 2
            flux = flux - faces.swept * (left + right) / 2
            out = self.along(self.carried, outer, faces.outer, time, faces.outwards)
        flux = flux - speed * (right - left) / 2
        change = -(dual.difference @ flux)
        limit = dual.total @ np.broadcast_to(speed, flux.shape)
        for condition, parts in self.through:
            passing = np.broadcast_to(out, outer.shape)[parts]
            if isinstance(condition, Flux):
                size = np.linalg.norm(faces.outwards[parts], axis=1)
                passing = condition.at(time, faces.outer[parts]) * size
            passing = passing - faces.outer_swept[parts] * outer[parts]
            change -= np.bincount(dual.owner[parts], passing, dual.count)
        if self.spread is not None:
            centre, mean = faces.points[dual.cells].mean(1), u[dual.cells].mean(1)
            local: Any = 0.0
            spreads: Any = 0.0
            for axis, (e, k) in enumerate(zip(self.spread, self.diffusivity, strict=True)):
                slope = faces.slopes[:, :, axis]
                local = local + (self.value(e, mean, centre, time, inside) * faces.content)[:, None] * slope
                spreads = spreads + (self.value(k, mean, centre, time) * faces.content)[:, None] * slope**2
            change += np.bincount(dual.cells.ravel(), local.ravel(), dual.count)
            limit = limit + np.bincount(dual.cells.ravel(), spreads.ravel(), dual.count)
        if self.source != ZERO:
            change = change + volumes * self.value(self.source, u, faces.points, time)
        return Growth(change, limit / volumes)

    def _stream(self, faces: Faces, time: float) -> Any:
        if self.dual.dimensions != 2:
            return None
        if self.case.problem.stream(self.case, faces.points[:1], time) is None:
            return None
        return self.dual.flows(lambda p: self.case.problem.stream(self.case, p, time), faces)
