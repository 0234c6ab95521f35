"""−∇·(c ∇φ) = f on the cells of a box."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError
from sciml.solvers import _kept  # noqa: F401
from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear._system import LinearSystem

Scalar = Float[jax.Array, ""] | Float[np.ndarray, ""] | float


@partial(jax.tree_util.register_dataclass, data_fields=["spacing", "coefficients"], meta_fields=["shape", "ends"])
@dataclass(frozen=True)
class GridSystem(LinearSystem):
    """−∇·(c ∇φ) = f on the cells of a box, by differences over faces.

    For each cell Σ over its faces of c (φ − φ_neighbour)/h² = f. An end of an axis is periodic, a wall, through which
    nothing goes, or open, where φ is zero on the face.

    Args:
        shape: (..., y, x) counts of cells.
        ends: of x, y, ...
        spacing: (Δx, Δy, ...), may be traced.
        coefficients: for each axis (x, y, ...) c on the faces normal to it, n + 1 along it, those of walls are not
            asked; 0 where a face is closed; equal at both ends of a periodic axis. None for 1 everywhere.
    """

    shape: tuple[int, ...]
    ends: tuple[Ends, ...]
    spacing: tuple[Scalar, ...]
    coefficients: tuple[Any, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.ends) == len(self.spacing):
            raise InputError(
                f"linear system: expected one end pair and one spacing for each of {len(self.shape)} axes, got "
                f"{len(self.ends)} and {len(self.spacing)}"
            )
        if any((low is End.PERIODIC) != (high is End.PERIODIC) for low, high in self.ends):
            raise InputError(f"linear system: expected both ends of an axis periodic or neither, got {self.ends}")
        if self.coefficients is not None and len(self.coefficients) != len(self.shape):
            raise InputError(
                f"linear system: expected coefficients for each of {len(self.shape)} axes, got {len(self.coefficients)}"
            )

    @property
    def dimensions(self) -> int:
        return len(self.shape)

    @property
    def closed(self) -> bool:
        """Whether φ is fixed nowhere: it is known up to a constant, and f has zero mean."""
        return not any(end is End.OPEN for pair in self.ends for end in pair)

    def conductances(self, xp: Any = jnp) -> list[Any]:
        """For each axis (x, y, ...) c/h² on its n + 1 faces: 0 on walls, and twice as large on open ends, from which a
        cell's middle is half as far."""
        found = []
        for k, (low, high) in enumerate(self.ends):
            axis = self.dimensions - 1 - k
            shape = tuple(n + (a == axis) for a, n in enumerate(self.shape))
            c = xp.ones(shape) if self.coefficients is None else xp.asarray(self.coefficients[k])
            self._check_shape(k, c.shape)
            weight = {End.PERIODIC: 1.0, End.WALL: 0.0, End.OPEN: 2.0}
            line = np.ones(shape[axis])
            line[0], line[-1] = weight[low], weight[high]
            found.append(c * xp.asarray(line.reshape([-1 if a == axis else 1 for a in range(len(shape))]))
                         / self.spacing[k] ** 2)  # fmt: skip
        return found

    def apply(self, phi: jax.Array) -> jax.Array:
        """−∇·(c ∇φ)."""
        return apply(self.conductances(), self.ends, phi)

    def centred(self, values: jax.Array) -> jax.Array:
        """Values on live cells, of a closed system without their mean; zero elsewhere.

        Raises:
            InputError: an array of another shape.
        """
        if values.shape != self.shape:
            raise InputError(f"linear system: expected an array of shape {self.shape}, got {values.shape}")
        live = self.live()
        mean = jnp.sum(jnp.where(live, values, 0)) / jnp.sum(live) if self.closed else 0.0
        return jnp.where(live, values - mean, 0)

    def live(self, xp: Any = jnp) -> Any:
        """Where a cell has an open face: elsewhere there is no equation, and solvers give φ = 0."""
        return diagonal(self.conductances(xp), self.shape, xp) > 0

    def matrix(self) -> scipy.sparse.csr_array:
        """The same as a sparse matrix over cells in array order, with concrete numbers."""
        size = int(np.prod(self.shape))
        number = np.arange(size).reshape(self.shape)
        rows, columns, values = [], [], []
        total = np.zeros(self.shape)
        for k, c in enumerate(self.conductances(np)):
            axis, n = self.dimensions - 1 - k, self.shape[self.dimensions - 1 - k]
            lower, upper = np.take(c, range(n), axis), np.take(c, range(1, n + 1), axis)
            total += lower + upper
            for weight, step, edge in ((upper, -1, n - 1), (lower, 1, 0)):
                inner = np.ones(n, bool)
                inner[edge] = self.ends[k][0] is End.PERIODIC
                keep = np.broadcast_to(inner.reshape([-1 if a == axis else 1 for a in range(len(self.shape))]),
                                       self.shape)  # fmt: skip
                rows.append(number[keep])
                columns.append(np.roll(number, step, axis)[keep])
                values.append(-weight[keep])
        rows.append(number.ravel())
        columns.append(number.ravel())
        values.append(total.ravel())
        entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        return scipy.sparse.coo_array(entries, shape=(size, size)).tocsr()

    def _check_shape(self, k: int, shape: tuple[int, ...]) -> None:
        wanted = tuple(n + (a == self.dimensions - 1 - k) for a, n in enumerate(self.shape))
        if tuple(shape) != wanted:
            raise InputError(
                f"linear system: expected coefficients of {'xyz'[k]} on its faces, of shape {wanted}, got {shape}"
            )

    def check(self) -> None:
        spacing = [float(h) for h in self.spacing]
        if not all(np.isfinite(h) and h > 0 for h in spacing):
            raise InputError(f"linear system: expected positive spacings, got {spacing}")
        for k, given in enumerate(self.coefficients or ()):
            c, name = np.asarray(given), "xyz"[k]
            self._check_shape(k, c.shape)
            wrong = int((~(np.isfinite(c) & (c >= 0))).sum())
            if wrong:
                raise InputError(
                    f"linear system: {wrong} of {c.size} coefficients of {name} are negative or not finite: −∇·(c∇φ) "
                    "needs c ≥ 0"
                )
            line = np.moveaxis(c, self.dimensions - 1 - k, 0)
            if self.ends[k][0] is End.PERIODIC and not np.array_equal(line[0], line[-1]):
                raise InputError(f"linear system: coefficients of {name} differ on both ends of its periodic axis")

    def null_space(self, matrix: Any = None) -> np.ndarray | None:
        """The constants on each region that no open face joins to an open end."""
        matrix = self.matrix() if matrix is None else matrix
        joined = matrix.copy()
        joined.eliminate_zeros()
        _, region = connected_components(joined, directed=False)
        region = np.where(self.live(np).ravel(), region, -1)
        size, found = abs(matrix).max(), []
        for number in np.unique(region[region >= 0]):
            inside = (region == number).astype(float)
            if np.abs(matrix @ inside).max() <= 1e-12 * size:
                found.append(inside / np.sqrt(inside.sum()))
        return np.stack(found, axis=1) if found else None

    @property
    def symmetric(self) -> bool:
        return True


def apply(conductances: list[jax.Array], ends: tuple[Ends, ...], phi: jax.Array) -> jax.Array:
    """Σ over faces of c (φ − φ_neighbour), φ being 0 beyond what is not periodic."""
    total = jnp.zeros_like(phi)
    for k, c in enumerate(conductances):
        axis, n = phi.ndim - 1 - k, phi.shape[phi.ndim - 1 - k]
        width = [(1, 1) if a == axis else (0, 0) for a in range(phi.ndim)]
        line = jnp.pad(phi, width, mode="wrap" if ends[k][0] is End.PERIODIC else "constant")
        flux = c * jnp.diff(line, axis=axis)
        total += jax.lax.slice_in_dim(flux, 0, n, axis=axis) - jax.lax.slice_in_dim(flux, 1, n + 1, axis=axis)
    return total


def diagonal(conductances: list[Any], shape: tuple[int, ...], xp: Any = jnp) -> Any:
    """Σ over faces of c."""
    total = xp.zeros(shape)
    for k, c in enumerate(conductances):
        axis = len(shape) - 1 - k
        n = shape[axis]
        index = [slice(None)] * len(shape)
        for cut in (slice(0, n), slice(1, n + 1)):
            index[axis] = cut
            total = total + c[tuple(index)]
    return total
