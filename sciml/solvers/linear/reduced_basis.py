"""What pressures of other cases have in common, as a start."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sciml.errors import InputError, is_whole
from sciml.solvers.linear._warm_start import MarchStart
from sciml.solvers.linear.grid_system import GridSystem
from sciml.solvers.linear.multigrid import MultigridCG
from sciml.solvers.linear.projected import combined, galerkin, images_of, inner_products
from sciml.solvers.linear.recording import record

if TYPE_CHECKING:
    from sciml.problem import Case

TOLERANCE = 1e-8  # of the solutions that modes are made of, in double precision


@final
class ReducedBasis(MarchStart):
    """x⁰ = V (VᵀAV)⁻¹ Vᵀ b with V the first k modes of solutions in other marches: of all their combinations that of
    the smallest error in the norm of A. It needs no past, and is learned by `learned`.

    Where A stays the same, a solve costs 2 k passes over the cells more; where it changes, V is multiplied by A anew.

    Args:
        modes: V, on the cells of the march.

    Source: L. Sirovich, Q. Appl. Math. 45, 561 (1987), on modes from snapshots; R. Markovinović, J. D. Jansen, Int. J.
    Numer. Meth. Engng 68, 525 (2006), on such starts of iterations.
    """

    def __init__(self, modes: Float[np.ndarray, "k ny nx"]):
        try:
            modes = np.asarray(modes, np.float64)
        except (TypeError, ValueError):
            raise InputError(f"reduced_basis: expected modes (k, ny, nx), got {modes!r:.60}") from None
        if modes.ndim != 3 or not len(modes) or not np.isfinite(modes).all():
            raise InputError(f"reduced_basis: expected k finite modes (k, ny, nx), got an array of shape {modes.shape}")
        size = np.abs(modes).max((1, 2), keepdims=True)
        if not (size > 0).all():
            raise InputError("reduced_basis: expected modes that are not zero everywhere, got one that is")
        modes = modes / size
        self.modes, self.name = modes, f"reduced_basis_{len(modes)}"
        self._digest = hashlib.sha256(np.ascontiguousarray(modes).tobytes()).hexdigest() + str(modes.shape)

    @classmethod
    def learned(cls, solver: Any, cases: Sequence[Case], times: Any, count: int = 16, most: int = 200) -> Self:
        """The first modes of all pressures on the way, each of length 1 in the norm of its A, in the mean of the norms.

        Args:
            solver: `IncompressibleFlow` or `TwoPhaseFlow`.
            cases: marches to learn from, on the same domain as those that will be asked.
            times: to which they are solved.
            count: k, at most as many as there are solutions.
            most: of how many solutions of a march use is made, evenly spread.

        Raises:
            InputError: no cases, or counts that are none.
        """
        if not isinstance(cases, Sequence):
            raise InputError(f"reduced_basis: expected a list of cases, got {cases!r:.60}")
        for name, value in (("count", count), ("most", most)):
            if not is_whole(value) or value < 1:
                raise InputError(f"reduced_basis: {name} is {value!r}, expected a whole number from 1 on")
        found, mean, used, shape = [], None, 0, (0,)
        for case in cases:
            kept = record(solver, case, times)
            for k in np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int)):
                system, rhs = kept[k]
                with jax.enable_x64(True):
                    x = np.asarray(MultigridCG(TOLERANCE).prepare(system)(rhs)[0]).ravel()
                matrix = system.matrix()
                square = float(x @ (matrix @ x))
                if not square > 0:
                    continue
                found.append(x / np.sqrt(square))
                mean = matrix if mean is None else mean + matrix
                used, shape = used + 1, system.shape
        if mean is None:
            raise InputError("reduced_basis: expected cases whose pressure is not zero, got none")
        snapshots = np.stack(found)
        inner = snapshots @ (mean / used @ snapshots.T)
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        first = [k for k in np.argsort(values)[::-1][:count] if values[k] > 1e-12 * values[-1]]
        modes = vectors[:, first].T @ snapshots / np.sqrt(values[first])[:, None]
        return cls(modes.reshape(-1, *shape))

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        return galerkin(list(self.modes), system, rhs)

    def check(self, shape: tuple[int, ...]) -> None:
        if self.modes.shape[1:] != tuple(shape):
            raise InputError(f"reduced_basis: its modes are of {self.modes.shape[1:]} cells, expected {tuple(shape)}")

    def empty(self, system: GridSystem, kind: Any, same: bool) -> Any:
        return self._inner(system, kind) if same else ()

    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        inner = past if same else self._inner(system, rhs.dtype)
        return combined((jnp.asarray(self.modes, rhs.dtype),), inner, rhs)

    def _inner(self, system: GridSystem, kind: Any) -> jax.Array:
        modes = jnp.asarray(self.modes, kind)
        inner = inner_products(modes, images_of(system, modes))
        return (inner + inner.T) / 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReducedBasis) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)
