"""The best combination of the last solutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Float

from sciml.errors import InputError, is_whole
from sciml.solvers.linear._warm_start import MarchStart, WarmStart
from sciml.solvers.linear.grid_system import GridSystem

RIDGE = 100  # rounding errors that are added to the diagonal, for directions that rounding has made
REFINED = 2  # times that what they cost is taken back


class Past(NamedTuple):
    """The last m solutions as the newest and the differences between neighbours, all of length 1 in the norm of A:
    nearly parallel themselves, they could not be told apart in single precision.

    Args:
        first: the newest solution, of length 1.
        changes: (m, ...) a ring of m − 1 differences and one place for the next.
        inner: (m + 1, m + 1) products of `first` and `changes` with A between, 0 for the place of the next; where A
            changes from solve to solve they only say which there are.
        newest: the newest solution.
        place: of the next difference.
        begun: 1 once there is a solution.
    """

    first: jax.Array
    changes: jax.Array
    inner: jax.Array
    newest: jax.Array
    place: jax.Array
    begun: jax.Array


@final
class Projected(MarchStart):
    """x⁰ = V (VᵀAV)⁺ Vᵀ b with V the last m solutions: of all their combinations that of the smallest error in the norm
    of A.

    Within a march m + 2 arrays are carried along. Where A stays the same, a solve costs some 5 m passes over the cells
    and two products with A more; where it changes, V is multiplied by A anew, which costs m products. A solve that has
    nothing left to do, as its guess is within the tolerance, is not among the last ones: what it says is known.

    Args:
        count: m.
        beside: a guess that is one more column of V; None for none.

    Source: P. F. Fischer, Comput. Methods Appl. Mech. Eng. 163, 193 (1998).
    """

    def __init__(self, count: int = 8, beside: WarmStart | None = None):
        if not is_whole(count) or count < 1:
            raise InputError(f"projected: count is {count!r}, expected a whole number from 1 on")
        if beside is not None and not isinstance(beside, WarmStart):
            raise InputError(f"projected: beside is {beside!r:.60}, expected a start such as Previous()")
        self.count, self.beside = int(count), beside
        self.memory = max(int(count), 0 if beside is None else beside.memory)
        self.name = f"projected_{self.count}" + ("" if beside is None else f"_with_{beside.name}")

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        columns = list(past[: self.count])
        more = None if self.beside is None else self.beside.guess(past, system, rhs, step)
        if more is not None:
            columns.insert(0, more)
        return galerkin(columns, system, rhs)

    def check(self, shape: tuple[int, ...]) -> None:
        if self.beside is None:
            return
        if not isinstance(self.beside, MarchStart):
            raise InputError(f"projected: beside is {self.beside.name}, which no march can ask; see MarchStart")
        self.beside.check(shape)

    def empty(self, system: GridSystem, kind: Any, same: bool) -> Any:
        m, shape = self.count, system.shape
        none, zero = jnp.zeros((), kind), jnp.zeros(shape, kind)
        own = Past(zero, jnp.zeros((m, *shape), kind), jnp.zeros((m + 1, m + 1), kind), zero, none, none)
        return own, () if self.beside is None else self._beside.empty(system, kind, same)

    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        own, more = past
        columns = own.first[None], own.changes
        inner = own.inner
        if not same:
            every = _there(own)[:, None, None] * jnp.concatenate(columns)
            every, inner = _unit(every, images_of(system, every))
            columns = (every,)
        extra = None if self.beside is None else self._beside.begin(more, system, rhs, same)
        if extra is not None:
            extra = system.centred(extra).astype(rhs.dtype)[None]
            (unit,), image = _scaled(extra, images_of(system, extra))
            row = _there(own) * jnp.concatenate([inner_products(c, image)[:, 0] for c in columns])
            columns = *columns, unit[None]
            size = jnp.sum(unit * image[0])
            inner = jnp.block([[inner, row[:, None]], [row[None], size[None, None]]])
        return combined(columns, inner, rhs)

    def kept(self, past: Any, system: GridSystem, x: jax.Array, new: jax.Array) -> Any:
        own, more = past
        more = () if self.beside is None else self._beside.kept(more, system, x, new)
        return _pushed(own, system, x, new), more

    @property
    def _beside(self) -> MarchStart:
        assert isinstance(self.beside, MarchStart)
        return self.beside

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projected) and (self.count, self.beside) == (other.count, other.beside)

    def __hash__(self) -> int:
        return hash((self.count, self.beside))


def _there(past: Past) -> jax.Array:
    """(m + 1,) 1 for `first` and those of `changes` that there are."""
    return jnp.where(jnp.diagonal(past.inner) > 0, 1, 0).astype(past.inner.dtype)


def _pushed(past: Past, system: GridSystem, x: jax.Array, new: jax.Array) -> Past:
    """With one more solution; the same where it is not new.

    The place of the next difference is written to in any case: no array of all is chosen between, which would copy it.
    """
    m, at = len(past.changes), past.place.astype(int)
    pair = jnp.stack([x, past.begun * (x - past.newest)])
    pair, images = _scaled(pair, images_of(system, pair))
    both = inner_products(pair, images)
    rows = jnp.stack([inner_products(past.changes, image[None])[:, 0] for image in images])
    # read before it is written to, so that it is not copied
    rows, pair = lax.optimization_barrier((rows, pair))
    changes = lax.dynamic_update_index_in_dim(past.changes, pair[1], at, 0)
    rows = jnp.concatenate([both[:1], lax.dynamic_update_index_in_dim(rows, both[1], at, 1).T]).T
    after = jnp.where(new & (past.begun > 0), jnp.where(past.place >= m - 1, 0, past.place + 1), past.place)
    number = jnp.arange(m + 1)
    there = jnp.where(
        (number != after.astype(int) + 1) & ((_there(past) > 0) | (number == 0) | (number == at + 1)), 1, 0
    )
    inner = past.inner.at[at + 1].set(rows[1]).at[:, at + 1].set(rows[1]).at[0].set(rows[0]).at[:, 0].set(rows[0])
    inner = inner * there[:, None] * there
    return Past(
        jnp.where(new, pair[0], past.first), changes, jnp.where(new, inner, past.inner),
        jnp.where(new, x, past.newest), after, jnp.where(new, 1, past.begun).astype(x.dtype),
    )  # fmt: skip


def _scaled(columns: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of length 1 in the norm of A, or 0; squares of very small numbers are none."""
    axes = tuple(range(1, columns.ndim))
    top = jnp.max(jnp.abs(columns), axes, keepdims=True)
    top = jnp.where(top > 0, top, 1)
    square = jnp.sum((columns / top) * (images / top), axes, keepdims=True)
    factor = jnp.where(square > 0, lax.rsqrt(jnp.where(square > 0, square, 1)), 0) / top
    return columns * factor, images * factor


def images_of(system: GridSystem, columns: jax.Array) -> jax.Array:
    """A times each of some columns (k, ...)."""
    return jax.vmap(system.apply)(columns).astype(columns.dtype)


def _unit(columns: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Columns of length 1 in the norm of A, and their products with A between."""
    columns, images = _scaled(columns, images)
    inner = inner_products(columns, images)
    return columns, (inner + inner.T) / 2


def inner_products(one: jax.Array, other: jax.Array) -> jax.Array:
    """(k, l) products of some columns (k, ...) with others (l, ...)."""
    return jnp.matmul(one.reshape(len(one), -1), other.reshape(len(other), -1).T, precision="highest")


def combined(columns: tuple[jax.Array, ...], inner: jax.Array, rhs: jax.Array) -> jax.Array:
    """The combination of columns whose error is least in the norm of A.

    Args:
        columns: (k, ...) each, some columns.
        inner: the products of all with A between; what has 0 on the diagonal is left out.
    """
    largest = jnp.max(jnp.abs(rhs))
    size = jnp.where(largest > 0, largest, 1)
    square = jnp.diagonal(inner)
    there = square > 0
    wanted = jnp.concatenate([inner_products(c, (rhs / size)[None])[:, 0] for c in columns])
    wanted = jnp.where(there, wanted, 0)
    ridge = jnp.where(there, RIDGE * jnp.finfo(rhs.dtype).eps * square, 1).astype(rhs.dtype)
    factor = cho_factor(inner + jnp.diag(ridge), lower=True)
    share = cho_solve(factor, wanted)
    for _ in range(REFINED):
        share = share + cho_solve(factor, wanted - jnp.matmul(inner, share, precision="highest"))
    share = size * jnp.where(jnp.all(jnp.isfinite(share)), share, 0)
    parts = jnp.split(share, np.cumsum([len(c) for c in columns])[:-1])
    return sum(
        (jnp.tensordot(s, c, 1, precision="highest") for s, c in zip(parts, columns, strict=True)), jnp.zeros_like(rhs)
    )


def galerkin(columns: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray) -> np.ndarray | None:
    """The combination of columns whose error is least in the norm of A; None of none."""
    if not columns:
        return None
    matrix = system.matrix()
    v = np.stack([np.asarray(c, np.float64).ravel() for c in columns], axis=1)
    v = np.where(np.asarray(system.live(np)).reshape(-1, 1), v, 0)
    v = v / np.maximum(np.linalg.norm(v, axis=0), 1e-300)
    basis, values, _ = np.linalg.svd(v, full_matrices=False)
    basis = basis[:, values > 1e-10 * values[0]]
    inner = basis.T @ (matrix @ basis)
    # what lies in the null space is not seen, and not asked for
    share = np.linalg.lstsq((inner + inner.T) / 2, basis.T @ np.asarray(rhs, np.float64).ravel(), rcond=1e-13)[0]
    return (basis @ share).reshape(system.shape)
