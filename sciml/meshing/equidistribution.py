"""Exact equidistribution on a line."""

from __future__ import annotations

from typing import final

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing._settings import check_steps
from sciml.meshing.mover import Domain, MeshMover, Proposal


@final
class Equidistribution(MeshMover):
    """Nodes xᵢ with ∫ m between neighbours the same everywhere, in proportion to the cells that there were:

        M(xᵢ) = M(x_N) (ξᵢ − ξ₀)/(ξ_N − ξ₀),    M(x) = ∫ m from ξ₀ to x.

    M is summed by the trapezoidal rule on `refinement` parts of each cell, and inverted exactly as the piecewise
    quadratic that it then is.

    Args:
        refinement: parts of a cell on which m is taken for linear; one asks m at the nodes alone.

    Raises:
        InputError: settings out of range; on `move` a mesh of a plane.
    """

    name = "equidistribution"

    def __init__(self, refinement: int = 16):
        check_steps(self.name, refinement=refinement)
        self.refinement = int(refinement)

    def _propose(self, domain: Domain) -> Proposal:
        if domain.points.shape[1] != 1:
            raise InputError(f"{self.name}: expected a mesh of intervals, got one of triangles; try MongeAmpere()")
        order = np.argsort(domain.points[:, 0])
        xi = domain.points[order, 0]
        parts = np.linspace(0, 1, self.refinement + 1)[:-1]
        x = np.append((xi[:-1, None] + parts * np.diff(xi)[:, None]).ravel(), xi[-1])
        found = np.empty_like(domain.points)
        found[order, 0] = inverse(x, domain.monitor(x[:, None]), (xi - xi[0]) / (xi[-1] - xi[0]))
        return Proposal(found)


def inverse(
    x: Float[np.ndarray, " point"], m: Float[np.ndarray, " point"], shares: Float[np.ndarray, " node"]
) -> Float[np.ndarray, " node"]:
    """Where ∫ m from x₀, m linear between values at x, has these shares of the whole."""
    h = np.diff(x)
    sums = np.append(0, np.cumsum(h * (m[:-1] + m[1:]) / 2))
    goals = shares * sums[-1]
    k = np.clip(np.searchsorted(sums, goals, side="right") - 1, 0, len(h) - 1)
    rest, low, slope = goals - sums[k], m[k], (m[k + 1] - m[k]) / h[k]
    # rest = low s + slope s²/2, by the root that does not cancel
    s = 2 * rest / (low + np.sqrt(np.maximum(low**2 + 2 * slope * rest, 0)))
    return np.clip(x[k] + s, x[0], x[-1])
