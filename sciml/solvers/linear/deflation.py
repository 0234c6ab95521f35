"""What past solutions know of the next one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply, Preconditioner, Starting
from sciml.solvers.linear._settings import check_counts, told
from sciml.solvers.linear._system import LinearSystem

DEPENDENT = 1e-12  # of the largest energy in the snapshots, below which a mode is rounding alone


class Deflation(Preconditioner):
    """Conjugate gradients without what is spanned by past solutions.

        z = Pᵀ M⁻¹ P r + Q r,    Q = Z (Zᵀ A Z)⁻¹ Zᵀ,    P = I − A Q

    Z are the snapshots' proper orthogonal modes in the inner product of A, so that Zᵀ A Z = 1. `ConjugateGradient`
    starts from x = Q b; its iterates are then those of deflated conjugate gradients: the error is A-orthogonal to Z
    throughout, and the rate is that of A M⁻¹ without the part in Z. A solution within the span of the snapshots takes
    no iteration.

    Args:
        snapshots: past solutions, (m, ...) or a sequence of arrays of the system's shape.
        preconditioner: M⁻¹ for the rest; None for the identity.
        modes: the most that are kept, those of the largest energy first; None for all.
        keep: the most snapshots that `add` keeps, the newest; None for all.

    Raises:
        InputError: no snapshots, of unequal shapes or not finite; on set-up such as are not of the system's shape.

    Source: R. A. Nicolaides, SIAM J. Numer. Anal. 24, 355 (1987); J. Frank, C. Vuik, SIAM J. Sci. Comput. 23, 442
    (2001); J. M. Tang, R. Nabben, C. Vuik, Y. A. Erlangga, J. Sci. Comput. 39, 340 (2009), on the form above.
    """

    name = "deflation"

    def __init__(self, snapshots: Any, preconditioner: Preconditioner | None = None, modes: int | None = None,
        keep: int | None = None,
    ):  # fmt: skip
        check_counts(self.name, **told(modes=modes, keep=keep))
        found = [np.asarray(s, None if np.iscomplexobj(s) else np.float64) for s in snapshots]
        shapes = sorted({s.shape for s in found})
        if not found or len(shapes) > 1:
            raise InputError(f"{self.name}: expected snapshots of one shape, got {shapes if found else 'none'}")
        if not all(np.isfinite(s).all() for s in found):
            raise InputError(f"{self.name}: expected finite snapshots")
        self.snapshots = tuple(s.copy() for s in found[-keep if keep else 0 :])
        for s in self.snapshots:
            s.flags.writeable = False
        self.preconditioner, self.modes, self.keep = preconditioner, modes, keep
        self.linear = preconditioner is None or preconditioner.linear
        digest = hashlib.blake2b(digest_size=16)
        for s in self.snapshots:
            digest.update(np.ascontiguousarray(s).tobytes())
        self._settings = (digest.digest(), shapes[0], preconditioner, modes, keep)

    def add(self, solution: Any) -> Deflation:
        """The same with one more solution, the newest."""
        return Deflation((*self.snapshots, solution), self.preconditioner, self.modes, self.keep)

    def supports(self, system: LinearSystem) -> bool:
        return system.symmetric and (self.preconditioner is None or self.preconditioner.supports(system))

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        basis = np.stack([concrete.project(concrete.gather("snapshots", s)) for s in self.snapshots], axis=1)
        basis = _modes(basis, concrete.matrix @ basis)[:, : self.modes]
        basis = np.ascontiguousarray(_modes(basis, concrete.matrix @ basis))  # takes off what rounding left
        inner, kept = (None, 0) if self.preconditioner is None else self.preconditioner.set_up(concrete)
        image = concrete.matrix @ basis
        return _Deflated(basis, image, inner), None if kept is None else kept + basis.nbytes + image.nbytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deflation) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash((self.name, self._settings))


class _Deflated(Starting):
    """Args: basis: (n, k) Z, image: (n, k) A Z, inner: M⁻¹."""

    def __init__(self, basis: np.ndarray, image: np.ndarray, inner: Apply | None):
        self.basis, self.image, self.inner = basis, image, inner

    def start(self, b: np.ndarray) -> np.ndarray:
        return self.basis @ (self.basis.conj().T @ b)

    def __call__(self, r: np.ndarray) -> np.ndarray:
        share = self.basis.conj().T @ r
        rest = r - self.image @ share
        z = rest if self.inner is None else self.inner(rest)
        return z + self.basis @ (share - self.image.conj().T @ z)


def _modes(columns: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A-orthonormal combinations, those of the largest energy first."""
    if columns.shape[1] == 0:
        return columns
    gram = columns.conj().T @ image
    energy, vectors = np.linalg.eigh((gram + gram.conj().T) / 2)
    good = energy > DEPENDENT * max(energy[-1], 0)
    order = np.flatnonzero(good)[::-1]
    return columns @ (vectors[:, order] / np.sqrt(energy[order]))
