"""An elastic medium that fills a mesh: how its nodes give way to a stress."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float

from sciml.meshing._simplices import contents, slopes, stiffness
from sciml.meshing.mover import Domain

KEPT = 0.2  # of a cell's content that one step leaves it


class Medium:
    """Linear elements on a mesh as it was, factored once.

    Args:
        domain: the mesh; nodes on straight pieces of its boundary slide, others on it stay.
    """

    def __init__(self, domain: Domain):
        points, cells = domain.points, domain.cells
        self.points, self.cells = points, cells
        self.size, self.slopes = contents(points, cells), slopes(points, cells)
        self.free: Any = domain.sliding.freedoms()
        d, (count, corners) = points.shape[1], cells.shape
        # (N D, C D D): ∫ σ : ∇w of a stress in cells, as forces on nodes
        c, i, a, b = np.ogrid[:count, :corners, :d, :d]
        shape = (count, corners, d, d)
        rows = np.broadcast_to(d * cells[c, i] + a, shape).ravel()
        columns = np.broadcast_to((c * d + a) * d + b, shape).ravel()
        values = np.broadcast_to(self.slopes[c, i, b] * self.size[c], shape).ravel()
        whole = scipy.sparse.csr_array((values, (rows, columns)), shape=(d * len(points), d * d * count))
        self.forces: Any = (self.free.T @ whole).tocsr()
        whole = scipy.sparse.kron(stiffness(points, cells), scipy.sparse.eye_array(d), format="csc")
        self.matrix: Any = (self.free.T @ whole @ self.free).tocsc()
        self.factor: Any = None
        if self.free.shape[1]:
            self.factor = scipy.sparse.linalg.splu(
                self.matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}
            )

    def yielded(
        self, stress: Float[np.ndarray, "cell dimension dimension"], diagonal: np.ndarray | None = None
    ) -> Float[np.ndarray, "node dimension"]:
        """Displacements δ of the nodes with ∫ ∇δ : ∇w = ∫ stress : ∇w for all w that nodes may follow.

        Args:
            stress: of the cells.
            diagonal: of the matrix: then only it counts, each node gives way for itself.
        """
        return (self.free @ self._solved(self.forces @ stress.ravel(), diagonal)).reshape(self.points.shape)

    def pulled(
        self, nodes: Float[np.ndarray, "node dimension"], diagonal: np.ndarray | None = None
    ) -> Float[np.ndarray, " entry"]:
        """The transpose of `yielded`."""
        return self.forces.T @ self._solved(self.free.T @ nodes.ravel(), diagonal)

    def diagonal(self) -> np.ndarray:
        return np.asarray(self.matrix.diagonal())

    def _solved(self, right: np.ndarray, diagonal: np.ndarray | None) -> np.ndarray:
        if diagonal is not None or self.factor is None:
            return right if diagonal is None else right / diagonal
        return self.factor.solve(right)

    def safe(self, points: np.ndarray, step: np.ndarray) -> float:
        """How much of a step can be gone, 1, ½, ¼, ..., that every cell keeps a fifth of its content."""
        now, share = contents(points, self.cells), 1.0
        while share > 1e-6 and not (contents(points + share * step, self.cells) >= KEPT * now).all():
            share /= 2
        return share if share > 1e-6 else 0.0
