"""Direct solution on a box: transforms, and a capacitance matrix for a body.

With constant coefficients the eigenvectors are products of one-dimensional cosines and sines (walls and open ends) or
Fourier modes (periodic), whatever the cell sizes, so that a solve is a transform, a division and the transform back.

A body changes the coefficients of the faces that it cuts or closes alone. With A = −∇·∇ on the box, g_f = (e_b − e_a)/h
for such a face between cells a and b, and D = diag(1 − c), A' = A − G D Gᵀ, so that (Woodbury)

    A'⁺ f = A⁺ (f + G D^½ (I − D^½ Gᵀ A⁺ G D^½)⁺ D^½ Gᵀ A⁺ f).

The matrix in the middle belongs to the cells at the body alone; it is worked out once, and both A⁺ are one pass over
the modes, as the first is asked at those cells only. Faces within the body stay open: no flow reaches them.

Source: R. W. Hockney, J. ACM 12, 95 (1965); B. L. Buzbee, F. W. Dorr, J. A. George, G. H. Golub, SIAM J. Numer. Anal.
8, 722 (1971), on the capacitance matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError
from sciml.solvers.linear import _modes
from sciml.solvers.linear._ends import End
from sciml.solvers.linear._solver import Info, TracedSolver
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem

MOST = 4000  # cells at a body: the matrix of their capacitances takes 128 MB
WORKING = 100_000_000  # numbers that are in use while it is worked out: 800 MB
NULL = 1e-9  # eigenvalues of the matrix in the middle below this belong to what the body cuts off


class Capacitance(NamedTuple):
    """What a body adds to a solve on the box.

    Args:
        rows: (ny, r) the modes of y at the rows of cells that are touched, columns: (nx, c) likewise; more are zero.
        index: (n,) the touched cells in these rows and columns.
        matrix: (n, n) from values at them to what is to be added to the right-hand side there.
    """

    rows: Any
    columns: Any
    index: Any
    matrix: Any


class Direct(TracedSolver):
    """To rounding; `Info.converged` says that the answer is finite. Coefficients are 1, but in two dimensions for faces
    that a body cuts or closes, in [0, 1]."""

    name = "direct"

    @property
    def iterative(self) -> bool:
        return False

    def supports(self, system: LinearSystem) -> bool:
        if not isinstance(system, GridSystem):
            return False
        if system.coefficients is None:
            return True
        if system.dimensions != 2:
            return False
        ranges = [(float(np.min(c)), float(np.max(c))) for c in system.coefficients]
        if min(low for low, _ in ranges) < 0 or max(high for _, high in ranges) > 1:
            return False
        cells = _touched(system)[1]
        columns = len(np.unique(cells % system.shape[1]))
        return len(cells) <= MOST and columns**2 * max(system.shape) <= WORKING

    def factor(self, system: GridSystem) -> Any:
        if system.coefficients is None:
            return ()
        (ny, nx), (ex, ey) = system.shape, system.ends
        lines, cells = _touched(system)
        if not len(cells):
            return Capacitance(np.zeros((ny, 0)), np.zeros((nx, 0)), np.zeros(0, np.int32), np.zeros((0, 0)))
        by, bx = _modes.basis(ny, ey), _modes.basis(nx, ex)
        i, j = np.divmod(cells, nx)
        (rows, i_of), (columns, j_of) = (np.unique(k, return_inverse=True) for k in (i, j))
        inverse = _inverse(system, np)
        # A⁺ between the touched cells: over x for all pairs of columns, then over y
        pairs = bx[:, columns, None] * bx[:, None, columns]
        over_x = (inverse @ pairs.reshape(nx, -1)).reshape(ny, len(columns), len(columns))
        near = by[:, i]
        between = np.empty((len(cells), len(cells)))
        for n in range(len(cells)):
            between[n] = np.einsum("pc,p,pc->c", near, near[:, n], over_x[:, j_of[n], j_of])
        # G D^½: cells over changed faces
        position = {int(cell): n for n, cell in enumerate(cells)}
        g = np.zeros((len(cells), len(lines)))
        for f, (one, other, weight, c) in enumerate(lines):
            size = np.sqrt(weight * (1 - c))
            g[position[other], f] += size
            if one >= 0:
                g[position[one], f] -= size
        middle = np.eye(len(lines)) - g.T @ between @ g
        values, vectors = np.linalg.eigh((middle + middle.T) / 2)
        inverted = np.where(values > NULL, 1 / np.where(values > NULL, values, 1), 0)
        half = g @ vectors
        matrix = (half * inverted) @ half.T
        width = len(columns)
        index = i_of * (width + -width % 8) + j_of
        # of few different sizes, so that bodies of about one size share one compiled function
        more = -len(cells) % 64
        return Capacitance(
            np.pad(by[:, rows], ((0, 0), (0, -len(rows) % 8))), np.pad(bx[:, columns], ((0, 0), (0, -width % 8))),
            np.pad(index, (0, more)).astype(np.int32), np.pad(matrix, (0, more)),
        )  # fmt: skip

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        if (system.coefficients is None) != (factor == ()):
            raise InputError(f"{self.name}: expected what `factor` gives for this system")
        wanted = system.centred(rhs)
        axes = [rhs.ndim - 1 - k for k in range(rhs.ndim)]
        fourier = [factor == () and _modes.by_fft(n, e) for n, e in zip(rhs.shape[::-1], system.ends, strict=True)]
        hat = rhs
        for axis, ends, fft in list(zip(axes, system.ends, fourier, strict=True))[::-1]:
            hat = _modes.transform(hat, ends, axis, False, fft)
        scale = _inverse(system, jnp, tuple(fourier)).astype(rhs.dtype)
        if factor != ():
            rows, columns, matrix = (jnp.asarray(a, rhs.dtype) for a in (factor[0], factor[1], factor[3]))
            patch = jnp.matmul(jnp.matmul(rows.T, hat * scale, precision="highest"), columns, precision="highest")
            added = jnp.matmul(matrix, patch.ravel()[factor[2]], precision="highest")
            source = jnp.zeros(patch.size, rhs.dtype).at[factor[2]].add(added).reshape(patch.shape)
            hat = hat + jnp.matmul(jnp.matmul(rows, source, precision="highest"), columns.T, precision="highest")
        hat = hat * scale
        for axis, ends, fft in zip(axes, system.ends, fourier, strict=True):
            hat = _modes.transform(hat, ends, axis, True, fft)
        phi = hat.real if jnp.iscomplexobj(hat) else hat
        if factor != ():
            phi = system.centred(phi)
        rest = jnp.sqrt(jnp.sum((wanted - system.apply(phi)) ** 2) / jnp.maximum(jnp.sum(wanted**2), 1e-30))
        return phi, Info(jnp.zeros((), int), rest, jnp.isfinite(jnp.sum(phi)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Direct)

    def __hash__(self) -> int:
        return hash(self.name)


def alike(factors: Sequence[Capacitance]) -> list[Capacitance]:
    """The same factors filled up to common sizes, so that they can be stacked: rows, columns and cells that are added
    carry nothing."""
    rows, columns, cells = (max(f[k].shape[-1] for f in factors) for k in (0, 1, 2))
    found = []
    for f in factors:
        i, j = np.divmod(f.index, max(f.columns.shape[1], 1))
        more = cells - len(f.index)
        over_y, over_x = (np.pad(a, ((0, 0), (0, n - a.shape[1]))) for a, n in ((f.rows, rows), (f.columns, columns)))
        index = np.pad(i * columns + j, (0, more)).astype(np.int32)
        found.append(Capacitance(over_y, over_x, index, np.pad(f.matrix, (0, more))))
    return found


def _inverse(system: GridSystem, xp: Any, fourier: tuple[bool, ...] = ()) -> Any:
    """One over the eigenvalues of −∇·∇ in the order of modes, 0 for the constant."""
    total: Any = 0.0
    for k, ends in enumerate(system.ends):
        axis = system.dimensions - 1 - k
        values = _modes.eigenvalues(system.shape[axis], ends, bool(fourier) and fourier[k])
        shape = [-1 if a == axis else 1 for a in range(system.dimensions)]
        total = total + xp.asarray(values.reshape(shape)) / system.spacing[k] ** 2
    if not system.closed:
        return 1 / total
    first = np.zeros(system.shape, bool)
    first[(0,) * system.dimensions] = True
    return xp.where(first, 0, 1 / xp.where(first, 1, total))


def _touched(system: GridSystem) -> tuple[list[tuple[int, int, float, float]], np.ndarray]:
    """The faces whose coefficient is not 1, as (cell before or -1, cell behind, weight/h², c), and their cells.

    Those between two cells that have no open face at all are left as they are.
    """
    assert system.coefficients is not None
    number = np.arange(int(np.prod(system.shape))).reshape(system.shape)
    live = np.asarray(system.live(np))
    found: list[tuple[int, int, float, float]] = []
    for k, (low, high) in enumerate(system.ends):
        axis = system.dimensions - 1 - k
        n, h = system.shape[axis], float(system.spacing[k])
        c = np.moveaxis(np.asarray(system.coefficients[k], dtype=np.float64), axis, -1)
        cell, alive = np.moveaxis(number, axis, -1), np.moveaxis(live, axis, -1)
        for line, row in np.argwhere(c != 1):
            inner = 0 < row < n or (row == 0 and low is End.PERIODIC)
            if inner and (alive[line, row - 1] or alive[line, row]):
                found.append((int(cell[line, row - 1]), int(cell[line, row]), 1 / h**2, float(c[line, row])))
            for at, end, here in ((0, low, 0), (n, high, n - 1)):
                if row == at and end is End.OPEN and alive[line, here]:
                    found.append((-1, int(cell[line, here]), 2 / h**2, float(c[line, row])))
    cells = np.unique([cell for one, other, _, _ in found for cell in (one, other) if cell >= 0]).astype(int)
    return found, cells
