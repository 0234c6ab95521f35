"""Equidistribution by optimal transport: the equation of Monge and Ampère, by relaxation."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._simplices import gathered, mass, rule, slopes, stiffness
from sciml.meshing.mover import Domain, MeshMover, Proposal


@final
class MongeAmpere(MeshMover):
    """Nodes x = ξ + ∇φ(ξ) with

        m(ξ + ∇φ) det(I + H) = θ,    H = ∇∇φ,    ∂φ/∂n = 0 on the boundary,

    θ being the mean of the left side. By relaxation: with linear elements on the mesh as it was,

        ∫ ∇δφ·∇v = dt ∫ (m det(I + H) − θ) v,    φ ← φ + δφ,

    then ∇φ by projection onto linear functions that have no normal part on the boundary, H weakly from ∇φ, and m anew
    at the moved nodes; until ‖∫ (m det(I + H) − θ) v‖ ≤ tolerance · ‖∫ θ v‖. The matrices of all three steps are
    factored once. Meant for convex regions; of others the safeguard takes what can be had.

    Args:
        tolerance: see above.
        max_iterations: beyond, the move is not converged.
        step: dt, of pseudo-time.

    Raises:
        InputError: settings out of range.

    Source: A. T. T. McRae, C. J. Cotter, C. J. Budd, Optimal-transport-based mesh adaptivity on the plane and sphere
    using finite elements, SIAM J. Sci. Comput. 40 (2018), A1121; relaxation after G. Awanou, Quadratic mixed finite
    element approximations of the Monge-Ampère equation in 2D, Calcolo 52 (2015), 503.
    """

    name = "monge_ampere"

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 1000, step: float = 0.1):
        check_positive(self.name, tolerance=tolerance, step=step)
        check_steps(self.name, max_iterations=max_iterations)
        self.tolerance, self.max_iterations, self.step = float(tolerance), int(max_iterations), float(step)

    def _propose(self, domain: Domain) -> Proposal:
        work = Transport(domain)
        phi, best = np.zeros(len(domain.points)), None
        gradient, hessian = work.derivatives(phi)
        first = np.inf
        for count in range(self.max_iterations + 1):
            x = domain.points + gradient
            right, size = work.excess(domain.monitor(x), hessian)
            rest = float(np.linalg.norm(right)) / size
            first = min(first, rest) if count else rest
            if best is None or rest < best.residual:
                best = Proposal(x, count, rest, rest <= self.tolerance)
            if rest <= self.tolerance or not np.isfinite(rest) or rest > 10 * max(first, 1.0):
                break
            phi = phi + work.poisson(self.step * right)
            gradient, hessian = work.derivatives(phi)
        assert best is not None
        return Proposal(best.points, count, best.residual, best.converged)


class Transport:
    """What does not change while a mesh is moved: matrices of linear elements, factored."""

    def __init__(self, domain: Domain):
        points, cells = domain.points, domain.cells
        self.cells, self.count = cells, len(points)
        self.size = np.abs(np.linalg.det(points[cells][:, 1:] - points[cells][:, :1])) / (1, 1, 2)[points.shape[1]]
        self.slopes = slopes(points, cells)
        whole: Any = mass(points, cells)
        self._mass = scipy.sparse.linalg.splu(whole)
        self._poisson = scipy.sparse.linalg.splu(_without_first(stiffness(points, cells)))
        d = points.shape[1]
        self._free: Any = domain.sliding.freedoms()
        both: Any = scipy.sparse.kron(whole, scipy.sparse.eye_array(d), format="csc")
        self._gradient: Any = None
        if self._free.shape[1]:
            self._gradient = scipy.sparse.linalg.splu((self._free.T @ both @ self._free).tocsc())
        self.places, self.weights = rule(d)
        sides = domain.sliding.sides
        if d == 2:
            along = points[sides[:, 1]] - points[sides[:, 0]]
            self.sides, self.normals = sides, np.stack([along[:, 1], -along[:, 0]], 1)  # as long as the side
        else:
            outer = np.where(points[sides[:, 0], 0] == points[:, 0].max(), 1.0, -1.0)
            self.sides, self.normals = sides, outer[:, None]

    def poisson(self, right: np.ndarray) -> np.ndarray:
        """φ with ∫ ∇φ·∇v = right, 0 at the first node."""
        return np.append(0.0, self._poisson.solve(right[1:]))

    def derivatives(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇φ (N, D) and H (N, D, D) at the nodes."""
        d, k = self.slopes.shape[2], self.cells.shape[1]
        inside = np.einsum("cid,ci->cd", self.slopes, phi[self.cells])
        right = np.stack(
            [gathered(self.cells, np.repeat((inside[:, i] * self.size / k)[:, None], k, 1), self.count)
             for i in range(d)], 1,
        )  # fmt: skip
        gradient = np.zeros((self.count, d))
        if self._gradient is not None:
            gradient = (self._free @ self._gradient.solve(self._free.T @ right.ravel())).reshape(self.count, d)
        hessian = np.empty((self.count, d, d))
        for i in range(d):
            for j in range(i, d):
                weak = gathered(self.cells, -(inside[:, i] * self.size)[:, None] * self.slopes[:, :, j], self.count)
                weak += self._around(gradient[:, i], j)
                if i != j:  # the mean of both orders, which differ by the error of the recovery
                    other = gathered(
                        self.cells, -(inside[:, j] * self.size)[:, None] * self.slopes[:, :, i], self.count
                    )
                    weak = (weak + other + self._around(gradient[:, j], i)) / 2
                hessian[:, i, j] = hessian[:, j, i] = self._mass.solve(weak)
        return gradient, hessian

    def _around(self, values: np.ndarray, j: int) -> np.ndarray:
        """∮ values n_j v."""
        if self.sides.shape[1] == 1:
            return np.bincount(self.sides[:, 0], values[self.sides[:, 0]] * self.normals[:, j], self.count)
        a, b = self.sides.T
        n = self.normals[:, j] / 6
        found = np.bincount(a, n * (2 * values[a] + values[b]), self.count)
        return found + np.bincount(b, n * (values[a] + 2 * values[b]), self.count)

    def excess(self, m: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, float]:
        """∫ (m det(I + H) − θ) v, m and H linear between nodes, and ‖∫ θ v‖."""
        at = self.places
        monitor = m[self.cells] @ at.T
        inner = np.einsum("qk,ckij->cqij", at, hessian[self.cells], optimize=True)
        product = monitor * np.linalg.det(np.eye(hessian.shape[1]) + inner)
        theta = float(np.einsum("cq,q,c->", product, self.weights, self.size) / self.size.sum())
        local = np.einsum("cq,q,qk,c->ck", product - theta, self.weights, at, self.size, optimize=True)
        even = gathered(self.cells, np.repeat((self.size / at.shape[1])[:, None], at.shape[1], 1), self.count)
        return gathered(self.cells, local, self.count), abs(theta) * float(np.linalg.norm(even))


def _without_first(matrix: Any) -> Any:
    return matrix[1:][:, 1:]
