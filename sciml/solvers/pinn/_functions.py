"""Smooth functions through given values, in JAX: trigonometric polynomials and splines.

Their numbers are NumPy's, float64; values come in the type of the point.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

WRAPPED = 32  # nodes by which the values of a periodic axis are continued on either side
LARGEST = 512  # waves, above which a spline is cheaper
PADDED = 32  # waves come in multiples, so that equal programs serve for similar functions


class Constant(eqx.Module):
    """A number, at all places and times."""

    value: Any

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, ""]:
        return jnp.asarray(self.value, x.dtype)


class Trigonometric(eqx.Module):
    """Σ_k a_k cos(k·θ) + b_k sin(k·θ), θ = 2π (x − low)/(high − low), over the axes of space.

    Args:
        waves: (K, D) wave vectors k.
        cosines, sines: (K,) a and b.
    """

    waves: Any
    cosines: Any
    sines: Any
    low: Any
    span: Any

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, ""]:
        waves, cosines, sines, low, span = (
            jnp.asarray(a, x.dtype) for a in (self.waves, self.cosines, self.sines, self.low, self.span)
        )
        phase = waves @ ((x[: low.shape[0]] - low) * (2 * math.pi / span))
        return jnp.dot(cosines, jnp.cos(phase)) + jnp.dot(sines, jnp.sin(phase))


class Spline(eqx.Module):
    """A spline of odd degree over equally spaced nodes along some of the coordinates, constant along the others.

    Args:
        coefficients: of B-splines, in the order of `axes`.
        axes: the coordinates that it depends on.
        periodic: of each of them, whether it goes around.
    """

    coefficients: Any
    low: Any
    step: Any
    basis: Any
    axes: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    cells: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, ""]:
        low, step, basis, coefficients = (
            jnp.asarray(a, x.dtype) for a in (self.low, self.step, self.basis, self.coefficients)
        )
        degree = basis.shape[0] - 1
        starts, weights = [], []
        for k, axis in enumerate(self.axes):
            s = (x[axis] - low[k]) / step[k]
            if self.periodic[k]:
                s = s - jnp.floor(s / self.cells[k]) * self.cells[k] + WRAPPED
                most = coefficients.shape[k] - degree - 1
            else:
                most = self.cells[k] - 1
            cell = jnp.clip(jnp.floor(s), 0, most)
            share = s - cell
            powers = [jnp.ones_like(share)]
            for _ in range(degree):
                powers.append(powers[-1] * share)
            starts.append(cell.astype(int))
            weights.append(basis @ jnp.stack(powers))
        found: Any = jax.lax.dynamic_slice(coefficients, starts, (degree + 1,) * len(self.axes))
        for w in reversed(weights):
            found = found @ w
        return found


@cache
def _basis(degree: int) -> np.ndarray:
    """(piece, power) of the B-spline over whole numbers: what c_i, c_{i+1}, ... are multiplied with at i + s."""
    from scipy.interpolate import BSpline, PPoly

    whole = PPoly.from_spline(BSpline.basis_element(np.arange(degree + 2.0), extrapolate=False))
    inside = [k for k in range(whole.c.shape[1]) if 0 <= whole.x[k] < whole.x[k + 1] <= degree + 1]
    pieces = whole.c[:, inside]
    return np.ascontiguousarray(pieces[::-1, ::-1].T)  # the last piece belongs to the first coefficient


def _interpolating(values: np.ndarray, degree: int, axis: int) -> np.ndarray:
    """Coefficients of the spline through values at all nodes, without knots next to the ends."""
    import scipy.sparse
    import scipy.sparse.linalg

    n = values.shape[axis]
    at_node = _basis(degree)[:, 0][:degree]
    rows = [
        scipy.sparse.diags_array([np.full(n, w) for w in at_node], offsets=range(degree), shape=(n, n + degree - 1))  # type: ignore[arg-type]
    ]
    extra = (degree - 1) // 2
    difference = np.array([(-1.0) ** k * math.comb(degree + 1, k) for k in range(degree + 2)])
    ends = scipy.sparse.lil_array((2 * extra, n + degree - 1))
    for k in range(extra):
        ends[k, k : k + degree + 2] = difference
        ends[extra + k, n + degree - 3 - degree - k : n + degree - 1 - k] = difference
    matrix = scipy.sparse.vstack([rows[0], ends]).tocsc()
    moved = np.moveaxis(values, axis, 0)
    given = np.concatenate([moved.reshape(n, -1), np.zeros((2 * extra, moved[0].size))])
    found = scipy.sparse.linalg.splu(matrix).solve(given)
    return np.moveaxis(found.reshape(n + degree - 1, *moved.shape[1:]), 0, axis)


def spline(
    values: np.ndarray,
    low: Sequence[float],
    high: Sequence[float],
    axes: Sequence[int],
    periodic: Sequence[bool] = (),
    degree: int = 5,
) -> Spline:
    """The spline through values at equally spaced nodes.

    Args:
        values: over the nodes, in the order of `axes`; the nodes run from `low` to `high`, both included, and on a
            periodic axis without the last one.
    """
    periodic = tuple(periodic) or (False,) * len(tuple(axes))
    degree = min(degree, 2 * ((min(values.shape) - 2) // 2) - 1) if min(values.shape) < 2 * degree else degree
    degree = max(degree, 1)
    cells, steps = [], []
    coefficients = np.asarray(values, np.float64)
    for k, around in enumerate(periodic):
        n = values.shape[k]
        cells.append(n if around else n - 1)
        steps.append((high[k] - low[k]) / cells[-1])
        if around:
            coefficients = np.take(coefficients, np.arange(-WRAPPED, n + WRAPPED), axis=k, mode="wrap")
        coefficients = _interpolating(coefficients, degree, k)
    return Spline(
        coefficients, np.array(low, float), np.array(steps, float), _basis(degree), tuple(axes), periodic,
        tuple(cells),
    )  # fmt: skip


def trigonometric(values: np.ndarray, low: Sequence[float], high: Sequence[float]) -> Trigonometric | None:
    """The trigonometric polynomial through values on a periodic grid, (x, y, ..) in this order, the first node at
    `low`; waves of no weight are left out. None where too many would be left."""
    shape, d = values.shape, values.ndim
    spectrum = np.fft.fftn(values) / values.size
    kept, cosines, sines = [], [], []
    frequencies = [np.fft.fftfreq(n, 1 / n).astype(int) for n in shape]
    least = 1e-15 * max(float(np.abs(spectrum).max()), 1e-300)
    for place in np.argwhere(np.abs(spectrum) > least):
        k = tuple(int(frequencies[a][i]) for a, i in enumerate(place))
        if k < (0,) * d:  # its mirror image stands for both
            continue
        c = spectrum[tuple(place)]
        edge = any(2 * abs(w) == n for w, n in zip(k, shape, strict=True))
        factor = 1.0 if not any(k) or edge else 2.0
        kept.append(k)
        cosines.append(factor * c.real)
        sines.append(0.0 if edge else -factor * c.imag)
    if len(kept) > LARGEST:
        return None
    pad = -len(kept) % PADDED if len(kept) > 1 else 0  # many problems begin with a single wave
    waves = np.concatenate([np.array(kept, float).reshape(-1, d), np.zeros((pad, d))])
    return Trigonometric(
        waves, np.array(cosines + [0.0] * pad), np.array(sines + [0.0] * pad), np.array(low, float),
        np.array(high, float) - np.array(low, float),
    )  # fmt: skip


def nodes(low: float, high: float, count: int, periodic: bool) -> np.ndarray:
    """The places of `spline` along an axis."""
    return np.linspace(low, high, count + periodic)[:count]


def on_nodes(
    function: Callable[[np.ndarray], np.ndarray], box: Sequence[tuple[float, float]], counts: Sequence[int],
    periodic: Sequence[bool],
) -> np.ndarray:  # fmt: skip
    """Values of a function of points (N, D) over the nodes of a box, axes in the order x, y, z."""
    lines = [nodes(*ends, n, around) for ends, n, around in zip(box, counts, periodic, strict=True)]
    places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(lines))
    return np.asarray(function(places), np.float64).reshape(tuple(counts))


def through(values: np.ndarray, box: Sequence[tuple[float, float]], periodic: Sequence[bool]) -> Any:
    """A smooth function of space through values over nodes: of waves where all axes are periodic and few are needed,
    else a spline."""
    low, high = [a for a, _ in box], [b for _, b in box]
    found = trigonometric(values, low, high) if all(periodic) else None
    return spline(values, low, high, range(values.ndim), periodic) if found is None else found


KINDS = {kind.__name__: kind for kind in (Constant, Spline, Trigonometric)}


def stored(function: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A function of one of these kinds as JSON values and arrays."""
    settings: dict[str, Any] = {"kind": type(function).__name__}
    arrays = {}
    for f in dataclasses.fields(function):
        value = getattr(function, f.name)
        if f.metadata.get("static"):
            settings[f.name] = list(value)
        else:
            arrays[f.name] = np.asarray(value, np.float64)
    return settings, arrays


def restored(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """What `stored` gave."""
    kind: Any = KINDS[settings["kind"]]
    given: dict[str, Any] = {k: tuple(v) for k, v in settings.items() if k != "kind"}
    return kind(**given, **arrays)


def evaluated(function: Callable[[Any], Any], points: np.ndarray, chunk: int = 32768) -> np.ndarray:
    """A function of a point at many."""
    many = jax.jit(jax.vmap(function))
    dtype = jnp.result_type(float)
    parts = [np.asarray(many(jnp.asarray(points[k : k + chunk], dtype))) for k in range(0, len(points), chunk)]
    return np.concatenate(parts)
