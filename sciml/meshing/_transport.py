"""Linear elements for the equation of Monge and Ampère on the mesh as it was; matrices are built and factored once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from sciml.meshing._simplices import assembled, contents, gathered, mass, rule, slopes, stiffness
from sciml.meshing.mover import Domain
from sciml.solvers._newton import cholesky

LEAST_EIGENVALUE = 0.05  # of I + H where a matrix must be positive, in its largest


class Transport:
    """What does not change while a mesh is moved by φ:

        M g = B φ,                  g = ∇φ by projection, with no part normal to the boundary;
        M Hᵢⱼ = Wᵢⱼ φ + Cᵢⱼ g,      H = ∇∇φ, weakly from ∇φ in cells and g on the boundary;
        R(φ) = ∫ (m(ξ + g) det(I + H) − θ) v,      θ the mean.

    H is kept as its D (D + 1)/2 components xx, xy, yy, each at the nodes.

    Args:
        domain: the mesh.
        factor: "lu" or "cholesky".
    """

    def __init__(self, domain: Domain, factor: str = "lu"):
        points, cells = domain.points, domain.cells
        self.factor, self.cells, self.points = factor, cells, points
        self.count, self.dimensions = points.shape
        self.size, self.slopes = contents(points, cells), slopes(points, cells)
        d, k = self.dimensions, cells.shape[1]
        self._corners = np.ascontiguousarray(cells.T)
        self._places, self._weights = rule(d, 4)  # m, det and v: four linear functions
        self._tests = np.ascontiguousarray((self._places * self._weights[:, None]).T)
        even = gathered(cells, np.repeat((self.size / k)[:, None], k, 1), self.count)
        self._even, self._total = float(np.linalg.norm(even)), float(self.size.sum())
        ones = np.ones((1, k, 1)) / k
        # ∫ vᵢ ∂vⱼ/∂d, and ∫ ∂vᵢ/∂e ∂vⱼ/∂d
        first = [assembled(cells, ones * (self.slopes[:, None, :, i] * self.size[:, None, None]), self.count)
                 for i in range(d)]  # fmt: skip
        self._free: Any = domain.sliding.freedoms()
        self.factorise()
        if self._free.shape[1]:
            axes = np.eye(d)
            stacked: Any = sum(scipy.sparse.kron(b, axes[:, i : i + 1]) for i, b in enumerate(first))
            self._sources: Any = (self._free.T @ stacked).tocsr()
        around = self._around(domain)
        bends, edges = [], []
        for i in range(d):
            for j in range(i, d):  # the mean of both orders, which differ by the error of the recovery
                bends.append((self._second(i, j) + self._second(j, i)) / 2)
                axes = np.eye(d)
                edges.append((scipy.sparse.kron(around[j], axes[i : i + 1])
                              + scipy.sparse.kron(around[i], axes[j : j + 1])) / 2)  # fmt: skip
        self._bends: Any = scipy.sparse.vstack(bends, format="csr")
        self._edges: Any = scipy.sparse.vstack(edges, format="csr")

    def factorise(self) -> None:
        """Assemble and factor what is solved with; done on construction."""
        whole: Any = mass(self.points, self.cells)
        self._mass = factored(whole, self.factor)
        self.stiffness: Any = stiffness(self.points, self.cells)
        self._poisson = factored(_without_first(self.stiffness), self.factor)
        self._gradient: Any = None
        if self._free.shape[1]:
            both: Any = scipy.sparse.kron(whole, scipy.sparse.eye_array(self.dimensions), format="csc")
            self._gradient = factored((self._free.T @ both @ self._free).tocsc(), self.factor)

    def _second(self, i: int, j: int) -> Any:
        """−∫ ∂φ/∂i ∂v/∂j."""
        local = -self.slopes[:, :, None, j] * self.slopes[:, None, :, i] * self.size[:, None, None]
        return assembled(self.cells, local, self.count)

    def _around(self, domain: Domain) -> list[Any]:
        """∮ g nⱼ v for each j."""
        points, sides, d = self.points, domain.sliding.sides, self.dimensions
        if d == 1:
            outer = np.where(points[sides[:, 0], 0] == points[:, 0].max(), 1.0, -1.0)
            return [assembled(sides, outer[:, None, None], self.count)]
        along = points[sides[:, 1]] - points[sides[:, 0]]
        normals = np.stack([along[:, 1], -along[:, 0]], 1)  # as long as the side
        share = (np.ones((2, 2)) + np.eye(2)) / 6
        return [assembled(sides, normals[:, j, None, None] * share, self.count) for j in range(d)]

    def poisson(self, right: np.ndarray) -> np.ndarray:
        """φ with ∫ ∇φ·∇v = right, 0 at the first node."""
        return np.append(0.0, self._poisson(right[1:]))

    def derivatives(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇φ (N, D) and the components of H (D (D + 1)/2, N) at the nodes."""
        gradient, weak = np.zeros(self.count * self.dimensions), self._bends @ phi
        if self._gradient is not None:
            gradient = self._free @ self._gradient(self._sources @ phi)
            weak += self._edges @ gradient
        hessian = self._mass(weak.reshape(-1, self.count).T).T
        return gradient.reshape(self.count, self.dimensions), hessian

    def excess(self, m: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, float]:
        """R, m and H linear between nodes, and ‖∫ θ v‖."""
        inside, *bends = self._within(np.vstack([m[None], hessian]))
        return self._tested(inside * _determinant(bends))

    def linearised(self, m: np.ndarray, slope: np.ndarray, hessian: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """δφ -> δR = ∫ (det ∇m·δg + m cof(I + H):δH − δθ) v.

        Args:
            m, slope: (N,) and (N, D) m and ∇m at the moved nodes.
            hessian: components of H.
        """
        inside, *bends = self._within(np.vstack([m[None], hessian]))
        determinant = _determinant(bends)
        factors = [inside * c for c in _cofactors(bends)]

        def change(phi: np.ndarray) -> np.ndarray:
            gradient, hessian = self.derivatives(phi)
            rise, *bends = self._within(np.vstack([(slope * gradient).sum(1)[None], hessian]))
            product = rise * determinant
            for f, b in zip(factors, bends, strict=True):
                product += f * b
            return self._tested(product)[0]

        return change

    def elliptic(self, m: np.ndarray, hessian: np.ndarray, rate: float) -> Callable[[np.ndarray], np.ndarray]:
        """right -> δφ with ∫ (rate + m cof(I + H)) ∇δφ·∇v = right: rate ∫ ∇δφ·∇v − δR, but for what recovery changes.

        As cof(I + H) is free of divergence and cof(I + H) ∇_ξ m = det ∇m, δR is ∫ ∇·(m cof(I + H) ∇δφ) v. The tensor
        is made positive where it is not.
        """
        inside = m[self.cells].mean(1) * self.size
        tensor = _positive([h[self.cells].mean(1) for h in hessian]) * inside[:, None, None]
        local = (self.slopes @ tensor) @ np.swapaxes(self.slopes, 1, 2)
        matrix = rate * self.stiffness + assembled(self.cells, local, self.count)
        solve = factored(_without_first(matrix), self.factor)
        return lambda right: np.append(0.0, solve(right[1:]))

    def _within(self, values: np.ndarray) -> np.ndarray:
        """(K, N) -> (K, point, cell)."""
        return self._places @ values[:, self._corners]

    def _tested(self, product: np.ndarray) -> tuple[np.ndarray, float]:
        """∫ (product − its mean) v and ‖∫ mean v‖."""
        mean = float((self._weights @ product) @ self.size) / self._total
        local = (self._tests @ (product - mean)) * self.size
        return np.bincount(self._corners.ravel(), local.ravel(), self.count), abs(mean) * self._even


class State:
    """φ, and what belongs to it.

    Attributes:
        phi, points, monitor, hessian: φ, ξ + ∇φ, m there, and the components of H.
        right, residual: R, and ‖R‖ over ‖∫ θ v‖.
    """

    def __init__(self, domain: Domain, work: Transport, phi: np.ndarray):
        self.phi = phi
        gradient, self.hessian = work.derivatives(phi)
        self.points = domain.points + gradient
        self.monitor = domain.monitor(self.points)
        self.right, size = work.excess(self.monitor, self.hessian)
        self.residual = float(np.linalg.norm(self.right)) / size


def _determinant(bends: list[np.ndarray]) -> np.ndarray:
    """Of I + H."""
    if len(bends) == 1:
        return 1 + bends[0]
    return (1 + bends[0]) * (1 + bends[2]) - bends[1] ** 2


def _cofactors(bends: list[np.ndarray]) -> list[np.ndarray]:
    """∂ det(I + H)/∂H by its components, that off the diagonal counted twice."""
    if len(bends) == 1:
        return [np.ones_like(bends[0])]
    return [1 + bends[2], -2 * bends[1], 1 + bends[0]]


def _positive(bends: list[np.ndarray]) -> np.ndarray:
    """(C, D, D) of cofactors of I + H, shifted where their least eigenvalue is small or negative."""
    if len(bends) == 1:
        return np.ones((len(bends[0]), 1, 1))
    a, b, c = 1 + bends[2], -bends[1], 1 + bends[0]
    middle, radius = (a + c) / 2, np.hypot((a - c) / 2, b)
    least = LEAST_EIGENVALUE * np.maximum(np.abs(middle) + radius, 1.0)
    shift = np.maximum(least - (middle - radius), 0.0)
    return np.stack([np.stack([a + shift, b], 1), np.stack([b, c + shift], 1)], 1)


def factored(matrix: Any, factor: str) -> Callable[[np.ndarray], np.ndarray]:
    """A solver of one or several right-hand sides (N,) or (N, K), of a positive matrix."""
    if factor == "cholesky":
        return cholesky(matrix)
    # an order for symmetric matrices, and no pivots, leave a third fewer entries
    return scipy.sparse.linalg.splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    ).solve


def _without_first(matrix: Any) -> Any:
    return matrix[1:][:, 1:]
