"""Linear elements for an equation whose solution is known: how wrong they are on a mesh, fast enough for tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Bool, Float

from sciml.errors import InputError, is_number
from sciml.meshing._checked import checked_mesh
from sciml.meshing._simplices import Cells, Points, contents, gathered, outer_sides, rule, slopes

Nodal = Float[np.ndarray, " node"]


@runtime_checkable
class Field(Protocol):
    """A smooth function of points (N, D) that is known with its derivatives."""

    def __call__(self, points: Any, /) -> Any:
        """(N,) values."""
        ...

    def gradient(self, points: Any, /) -> Any:
        """(N, D) first derivatives."""
        ...

    def hessian(self, points: Any, /) -> Any:
        """(N, D, D) second derivatives."""
        ...


@dataclass(frozen=True)
class Errors:
    """How far a function that is linear on cells is from the exact one.

    Args:
        l2: √∫ (u_h − u)².
        h1: √∫ |∇u_h − ∇u|².
    """

    l2: float
    h1: float


@final
class LinearElements:
    """Solutions u_h, continuous and linear on the cells of a mesh, of

        c u − ∇²u = f,    u_h = u at the nodes of the boundary,

    f being made of the exact solution u: ∫ c u_h v + ∇u_h·∇v = ∫ f v for all v of the kind that are 0 on the boundary.
    ∫ f v and the errors are taken on the cells of the mesh itself, with a rule of degree six.

    Args:
        field: u, of one or two dimensions.
        reaction: c, from 0 on (0: Poisson's equation).

    Raises:
        InputError: settings out of range; from the methods: a mesh with inverted cells.

    Source: A. Ern, J.-L. Guermond, Theory and Practice of Finite Elements (2004), chapter 3.
    """

    def __init__(self, field: Field, reaction: float = 1.0):
        for what in ("gradient", "hessian"):
            if not callable(getattr(field, what, None)):
                raise InputError(f"field: expected a function with the method {what}(points), got {field!r:.80}")
        if not is_number(reaction) or reaction < 0:
            raise InputError(f"reaction: got {reaction!r}, expected a number from 0 on")
        self.field, self.reaction = field, float(reaction)
        self._pattern: Pattern | None = None

    def solve(self, points: Any, cells: Any) -> Nodal:
        """u_h at the nodes of a mesh: points (N, D), cells (C, D + 1)."""
        places, numbers = checked_mesh(points, cells)
        return self._solve(places, numbers, Samples(places, numbers))

    def _solve(self, points: Points, cells: Cells, at: Samples) -> Nodal:
        second = at.of(self.field.hessian, 2)
        f = self.reaction * at.of(self.field) - sum(second[..., i, i] for i in range(points.shape[1]))
        load = at.size[:, None] * (f @ (at.weights[:, None] * at.places))
        return self.with_load(self.pattern(cells, len(points)), points, at, load)[0]

    def with_load(
        self, pattern: Pattern, points: Points, samples: Samples, load: Float[np.ndarray, "cell corner"]
    ) -> tuple[Nodal, Any]:
        """(u_h, the factored matrix of inner nodes), ∫ f v being given by cells."""
        local = samples.local(self.reaction)
        given = np.where(pattern.inner, 0.0, asked(self.field, points))
        rest = gathered(pattern.cells, load - np.matmul(local, given[pattern.cells][..., None])[..., 0], len(points))
        factor = pattern.factored(local)
        given[pattern.order] = factor.solve(rest[pattern.order])
        return given, factor

    def errors(self, points: Any, cells: Any, values: Any) -> Errors:
        """Of the function that is linear between these values at the nodes."""
        places, numbers = checked_mesh(points, cells)
        found = np.asarray(values, np.float64)
        if found.shape != (len(places),):
            raise InputError(f"values: expected one for each of {len(places)} nodes, got the shape {found.shape}")
        return self._errors(Samples(places, numbers), found[numbers])

    def _errors(self, at: Samples, inside: Float[np.ndarray, "cell corner"]) -> Errors:
        off = inside @ at.places.T - at.of(self.field)
        tilt = at.slope(inside)[:, None] - at.of(self.field.gradient, 1)
        return Errors(at.root(off**2), at.root((tilt**2).sum(2)))

    def error(self, points: Any, cells: Any) -> Errors:
        """Of u_h."""
        places, numbers = checked_mesh(points, cells)
        at = Samples(places, numbers)
        return self._errors(at, self._solve(places, numbers, at)[numbers])

    def interpolation_error(self, points: Any, cells: Any) -> Errors:
        """Of the function that is linear between the exact values at the nodes."""
        places, numbers = checked_mesh(points, cells)
        return self._errors(Samples(places, numbers), asked(self.field, places)[numbers])

    def pattern(self, cells: Cells, count: int) -> Pattern:
        """What depends on the numbers of nodes alone; kept for the next mesh that has the same cells."""
        kept = self._pattern
        if kept is None or len(kept.inner) != count or not np.array_equal(kept.cells, cells):
            self._pattern = kept = Pattern(cells, count)
        return kept


def asked(function: Any, points: Points, order: int = 0) -> np.ndarray:
    """(N,) values of a field, (N, D) or (N, D, D) of its first or second derivatives.

    Raises:
        InputError: a field of another number of dimensions than the points, or values of another shape.
    """
    d, what = points.shape[1], ("values", "first derivatives", "second derivatives")[order]
    try:
        found = np.asarray(function(points), np.float64)
    except (ValueError, IndexError) as error:
        raise InputError(f"field: cannot give {what} at points in {d}-D: {error}") from error
    expected = (len(points), *(d,) * order)
    if found.shape != expected:
        raise InputError(f"field: expected {what} {expected} at points in {d}-D, got the shape {found.shape}")
    return found


class Samples:
    """A mesh, and the points of the rule on its cells.

    Attributes:
        size, slopes: contents of cells and slopes of the functions of their corners.
        places, weights: of the rule.
        at: (C, Q, D) its points.
    """

    def __init__(self, points: Points, cells: Cells):
        self.size, self.slopes = contents(points, cells), slopes(points, cells)
        self.places, self.weights = rule(points.shape[1])
        self.at = np.matmul(self.places, points[cells])

    def of(self, function: Any, order: int = 0) -> np.ndarray:
        """(C, Q, ...) values there; arguments as those of `asked`."""
        flat = asked(function, self.at.reshape(-1, self.at.shape[2]), order)
        return flat.reshape(*self.at.shape[:2], *flat.shape[1:])

    def local(self, reaction: float) -> Float[np.ndarray, "cell corner corner"]:
        """∫ c vᵢ vⱼ + ∇vᵢ·∇vⱼ by cells."""
        k = self.slopes.shape[1]
        mass = reaction * (np.ones((k, k)) + np.eye(k)) / (k * (k + 1))
        return self.size[:, None, None] * (np.matmul(self.slopes, self.slopes.swapaxes(1, 2)) + mass)

    def slope(self, values: Float[np.ndarray, "cell corner"]) -> Float[np.ndarray, "cell dimension"]:
        """Of what is linear between values at corners."""
        return np.matmul(values[:, None], self.slopes)[:, 0]

    def integral(self, values: Float[np.ndarray, "cell point"]) -> float:
        return float(self.size @ (values @ self.weights))

    def root(self, values: Float[np.ndarray, "cell point"]) -> float:
        return float(np.sqrt(self.integral(values)))


class Pattern:
    """Where the numbers of cells go in the matrix of inner nodes, in an order of these that keeps its factors small.

    Attributes:
        cells: (C, D + 1).
        inner: nodes that are not on the boundary.
        order: their numbers, in the order of the matrix.
    """

    def __init__(self, cells: Cells, count: int):
        self.cells, self.inner = cells, _inner(cells, count)
        self.order = np.flatnonzero(self.inner)
        self._place()
        if len(self.order):
            k = cells.shape[1]
            ones = np.broadcast_to(np.eye(k) * (k + 1) - 1.0, (len(cells), k, k))
            found = self.factored(ones, "MMD_AT_PLUS_A")
            self.order = self.order[np.argsort(found.perm_c)]
            self._place()

    def _place(self) -> None:
        k, n = self.cells.shape[1], len(self.order)
        number = np.full(len(self.inner), -1)
        number[self.order] = np.arange(n)
        rows, columns = np.repeat(number[self.cells], k, 1).ravel(), np.tile(number[self.cells], (1, k)).ravel()
        self._used = np.flatnonzero((rows >= 0) & (columns >= 0))
        keys, self._slots = np.unique(columns[self._used] * n + rows[self._used], return_inverse=True)
        self._slots = self._slots.ravel()
        self._rows = keys % max(n, 1)
        self._starts = np.searchsorted(keys, np.arange(n + 1) * n)

    def factored(self, local: Float[np.ndarray, "cell corner corner"], ordering: str = "NATURAL") -> Any:
        """The matrix with these numbers of cells, factored."""
        n = len(self.order)
        if not n:
            return _Nothing()
        data = np.bincount(self._slots, local.ravel()[self._used], len(self._rows))
        matrix: Any = scipy.sparse.csc_array((data, self._rows, self._starts), shape=(n, n))
        return scipy.sparse.linalg.splu(
            matrix, permc_spec=ordering, diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )


class _Nothing:
    """The factors of an empty matrix."""

    def solve(self, right: np.ndarray) -> np.ndarray:
        return right


def _inner(cells: Cells, count: int) -> Bool[np.ndarray, " node"]:
    inner = np.ones(count, bool)
    inner[outer_sides(cells).ravel()] = False
    return inner
