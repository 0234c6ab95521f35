"""Direct descent of a finite-element error over the places of nodes: how good a mover could be."""

from __future__ import annotations

from collections import deque
from typing import Any, final

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._simplices import Cells, Points, contents, gathered, slopes
from sciml.meshing.linear_elements import LinearElements, Samples
from sciml.meshing.mover import LEAST, Domain, MeshMover, Proposal

BARRIERS = (1.0, 0.1)  # μ, one after the other
FLOOR = 2 * LEAST  # share of a cell's content below which no step leads
KEPT = 0.3  # share of a cell's content that every step leaves
SUFFICIENT = 1e-4  # share of the decrease promised by the slope that a step must bring
HALVINGS = 30
MEMORY = 20  # steps that the shape of the valley is learned from
LOOK_BACK = 10  # steps
EXACT = 1e-12  # share of √∫ u² below which an error is one of rounding
TINY = 1e-300


@final
class ErrorDescent(MeshMover):
    """Nodes x for which linear elements are least wrong:

        min over x of J(x, u_h) = ∫ (u_h − u)²,    A(x) u_h = b(x).

    The gradient is that of J + λᵀ(A u_h − b) with u_h and λ held, A λ = −∂J/∂u_h by the factors that there are, in
    closed form: cells deform with their nodes, and the points of the rule are carried along. ∫ f v is taken as
    ∫ c u v + ∇u·∇v, which is the same for functions v that are 0 on the boundary, so that no third derivatives of u are
    asked for. With |T| and |T₀| the contents of a cell now and before,

        log J − μ · mean over cells of log(|T|/|T₀| − 2/1000)

    is minimised by a quasi-Newton method of limited memory, μ = 1 and then 1/10; every step leaves each cell three
    tenths of its content, and is taken only where J itself falls. It ends in one of many minima, one near its start.

    It must know the exact solution: no mover for use, but what shows how much others could reach.

    Args:
        elements: the equation, with its exact solution.
        start: a mover whose nodes are begun with where they are better than those of the mesh as it is, and which alone
            makes use of the monitor; None for the mesh as it is.
        max_iterations: steps with each μ.
        tolerance: converged when ten steps together lower the logarithm above by less.

    Raises:
        InputError: settings out of range.

    Source: J. Nocedal, S. J. Wright, Numerical Optimization (2006), algorithm 7.4; derivatives by nodes: M. C. Delfour,
    J.-P. Zolésio, Shapes and Geometries (2011), chapter 9.
    """

    name = "error_descent"

    def __init__(
        self,
        elements: LinearElements,
        start: MeshMover | None = None,
        max_iterations: int = 300,
        tolerance: float = 1e-3,
    ):
        if not isinstance(elements, LinearElements):
            raise InputError(f"{self.name}: elements is {elements!r:.80}, expected LinearElements(field)")
        if start is not None and not isinstance(start, MeshMover):
            raise InputError(f"{self.name}: start is {start!r:.80}, expected a mover or None")
        check_steps(self.name, max_iterations=max_iterations)
        check_positive(self.name, tolerance=tolerance)
        self.elements, self.start = elements, start
        self.max_iterations, self.tolerance = int(max_iterations), float(tolerance)

    def _propose(self, domain: Domain) -> Proposal:
        found, history, converged = self.descend(domain, self._beginning(domain))
        return Proposal(found, len(history) - 1, converged=converged)

    def _beginning(self, domain: Domain) -> Points:
        if self.start is None:
            return domain.points
        held = np.flatnonzero(domain.sliding.fixed)
        found, _ = self.start.move(domain.points, domain.cells, held, monitor=domain.monitor)
        least = contents(domain.points, domain.cells) * (FLOOR + LEAST)
        while (contents(found, domain.cells) < least).any():
            found = (found + domain.points) / 2
        there, here = (square_error(self.elements, x, domain.cells)[0] for x in (found, domain.points))
        return found if there < here else domain.points

    def descend(self, domain: Domain, points: Points) -> tuple[Points, list[float], bool]:
        """Nodes from these on, J of all meshes on the way, and whether the last μ has converged."""
        history, converged = [square_error(self.elements, points, domain.cells)[0]], True
        if history[0] <= (EXACT * self.elements.errors(points, domain.cells, 0 * points[:, 0]).l2) ** 2:
            return points, history, converged
        for weight in BARRIERS:
            goal = Goal(self.elements, domain, weight)
            points, errors, converged = goal.lowered(points, self.max_iterations, self.tolerance)
            history += errors
        return points, history, converged


class Goal:
    """log J with a barrier against flat cells.

    Args:
        weight: μ.
    """

    def __init__(self, elements: LinearElements, domain: Domain, weight: float):
        self.elements, self.cells, self.weight = elements, domain.cells, weight
        self.free: Any = domain.sliding.freedoms()
        self.before = contents(domain.points, domain.cells)
        self.side = float(self.before.mean()) ** (1 / domain.points.shape[1])

    def lowered(self, points: Points, steps: int, tolerance: float) -> tuple[Points, list[float], bool]:
        """Nodes after so many steps, J after each, and whether there was little left to win."""
        pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=MEMORY)
        value, error, slope = self(points)
        values, errors = [value], []
        while len(errors) < steps:
            way = _direction(slope, pairs)
            step = (self.free @ way).reshape(points.shape)
            if not pairs:  # nothing known of lengths yet: a tenth of a cell's side
                length = 0.1 * self.side / max(float(np.linalg.norm(step, axis=1).max()), TINY)
                way, step = length * way, length * step
            promised = float(way @ slope)
            share = self.reach(points, step)
            for _ in range(HALVINGS):
                there, less, tilt = self(points + share * step)
                if there <= value + SUFFICIENT * share * promised and less <= error:
                    break
                share /= 2
            else:
                if not pairs:
                    return points, errors, True  # no way leads down
                pairs.clear()
                continue
            change = tilt - slope
            if way @ change > 0:
                pairs.append((share * way, change))
            points, value, error, slope = points + share * step, there, less, tilt
            values.append(value)
            errors.append(error)
            if len(values) > LOOK_BACK and values[-1 - LOOK_BACK] - value < tolerance:
                return points, errors, True
        return points, errors, False

    def reach(self, points: Points, step: Points) -> float:
        """The share 1, ½, ¼, ... of a step that leaves enough of every cell."""
        least = np.maximum(KEPT * contents(points, self.cells), FLOOR * self.before)
        share = 1.0
        while (contents(points + share * step, self.cells) <= least).any():
            share /= 2
        return share

    def __call__(self, points: Points) -> tuple[float, float, Float[np.ndarray, " free"]]:
        """(the goal, J, the gradient of the goal over what is free)."""
        error, slope = square_error(self.elements, points, self.cells)
        size = contents(points, self.cells)
        room = size / self.before - FLOOR
        local = slopes(points, self.cells) * (size / self.before / room / len(room))[:, None, None]
        goal = float(np.log(error) - self.weight * np.log(room).mean())
        slope = slope / error - self.weight * _at_nodes(self.cells, local, len(points))
        return goal, error, self.free.T @ slope.ravel()


def square_error(
    elements: LinearElements, points: Points, cells: Cells
) -> tuple[float, Float[np.ndarray, "node dimension"]]:
    """∫ (u_h − u)² and its gradient over the nodes' coordinates, those of the boundary too, whose values go with u."""
    field, c, count = elements.field, elements.reaction, len(points)
    at, pattern = Samples(points, cells), elements.pattern(cells, count)
    u, first, second = at.of(field), at.of(field.gradient, 1), at.of(field.hessian, 2)
    functions = at.weights[:, None] * at.places
    mean = np.matmul(at.weights, first)
    load = at.size[:, None] * (c * (u @ functions) + _along(at.slopes, mean))
    found, factor = elements.with_load(pattern, points, at, load)
    inside = found[cells]
    off = inside @ at.places.T - u
    # A λ = −∂J/∂u_h
    by_value = 2 * at.size[:, None] * (off @ functions)
    adjoint = np.zeros(count)
    adjoint[pattern.order] = -factor.solve(gathered(cells, by_value, count)[pattern.order])
    dual = adjoint[cells]
    dual_there, dual_slope = dual @ at.places.T, at.slope(dual)
    slope = at.slope(inside)
    # J + λᵀ(A u_h − b) is ∫ (u_h − u)² + c (u_h − u) λ_h + (∇u_h − ∇u)·∇λ_h: as cells grow (δ|T| = |T| ∇vₖ·δxₖ), ...
    gap = slope - mean
    density = (off**2 + c * off * dual_there) @ at.weights + (gap * dual_slope).sum(1)
    local = density[:, None, None] * at.slopes
    # ... as slopes turn (δ∇vⱼ = −∇vₖ (∇vⱼ·δxₖ)), ...
    local -= _along(at.slopes, dual_slope)[..., None] * slope[:, None]
    local -= _along(at.slopes, gap)[..., None] * dual_slope[:, None]
    # ... and as the points of the rule are carried along
    carried = (2 * off + c * dual_there)[..., None] * first + np.matmul(second, dual_slope[:, None, :, None])[..., 0]
    local -= np.matmul(functions.T, carried)
    by_place = _at_nodes(cells, at.size[:, None, None] * local, count)
    # the given values change with their nodes
    by_value += np.matmul(at.local(c), dual[..., None])[..., 0]
    given = np.where(pattern.inner, 0.0, gathered(cells, by_value, count))
    return at.integral(off**2), by_place + given[:, None] * field.gradient(points)


def _along(
    slopes: Float[np.ndarray, "cell corner dimension"], vectors: Float[np.ndarray, "cell dimension"]
) -> Float[np.ndarray, "cell corner"]:
    return np.matmul(slopes, vectors[..., None])[..., 0]


def _at_nodes(
    cells: Cells, local: Float[np.ndarray, "cell corner dimension"], count: int
) -> Float[np.ndarray, "node dimension"]:
    return np.stack([gathered(cells, local[..., i], count) for i in range(local.shape[2])], 1)


def _direction(
    slope: Float[np.ndarray, " free"], pairs: deque[tuple[np.ndarray, np.ndarray]]
) -> Float[np.ndarray, " free"]:
    """−H g, H being learned from steps and the changes of the slope over them (Nocedal and Wright, algorithm 7.4)."""
    found, shares = -slope, []
    for step, change in reversed(pairs):
        share = (step @ found) / (step @ change)
        shares.append(share)
        found = found - share * change
    if pairs:
        step, change = pairs[-1]
        found = found * ((step @ change) / (change @ change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - (change @ found) / (step @ change)) * step
    return found
