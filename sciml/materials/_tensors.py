"""Small tensors at many particles, in array-API code.

Outside they are arrays with the particle last, (d, d, N), d = 2 or 3, or rows of components (N,); inside, the latter,
with which all is written out: what does so is compiled into one loop over particles, and so are its derivatives.
Components of a symmetric tensor beside each other's mirror are one array.

Hencky's strain of b, ε = ½ ln b, and b = exp 2ε are taken without principal axes, so that they are smooth where
principal values are equal: volume and shape apart, in the plane in closed form, in space by series of the shape's
strain E = dev ε,

    tanh E = (b̂ − I)(b̂ + I)⁻¹,    b̂ = b/(det b)^(1/d),

whose error is |E|¹³/13: below 1e-8 up to |E| = 0.28, 1e-5 up to 0.5. Volume is exact whatever the strain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

#: below this value of its argument a function is that of its series
NEAR = 1e-2
#: artanh x/x and tanh x/x by powers of x²
ARTANH = (1.0, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11)
TANH = (1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925)

Tensor = list[list[Any]]


def unpack(xp: Any, a: Any) -> Tensor:
    """The components of (d, d, N); rows of them as they are."""
    if isinstance(a, list):
        return a
    d = a.shape[0]
    parts = [part[0] for part in xp.split(a.reshape(d * d, -1), d * d)]
    return [parts[d * i : d * (i + 1)] for i in range(d)]


def pack(xp: Any, a: Tensor) -> Any:
    """(d, d, N) of components."""
    return xp.stack([part for row in a for part in row]).reshape(len(a), len(a), -1)


def as_given(xp: Any, a: Tensor, given: Any) -> Any:
    """Rows of components, packed where another tensor is given so."""
    return a if isinstance(given, list) else pack(xp, a)


def identity(xp: Any, dimensions: int, count: int, dtype: Any) -> Any:
    """(d, d, N) unit tensors."""
    return xp.zeros((dimensions, dimensions, count), dtype) + xp.eye(dimensions, dtype=dtype)[:, :, None]


def half(xp: Any, a: Any) -> Tensor:
    """The components of a symmetric tensor, mirrored ones as one array."""
    rows = unpack(xp, a)
    return mirrored(len(rows), lambda i, j: rows[i][j])


def total(terms: Iterable[Any]) -> Any:
    """Their sum, without the 0 that `sum` begins with."""
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def made(d: int, component: Callable[[int, int], Any]) -> Tensor:
    """Of a function of row and column."""
    return [[component(i, j) for j in range(d)] for i in range(d)]


def mirrored(d: int, component: Callable[[int, int], Any]) -> Tensor:
    """A symmetric one, of a function of row and column that is asked once for both halves."""
    upper = {(i, j): component(i, j) for i in range(d) for j in range(i, d)}
    return made(d, lambda i, j: upper[min(i, j), max(i, j)])


def product(a: Tensor, b: Tensor) -> Tensor:
    """A B."""
    d = len(a)
    return made(d, lambda i, j: total(a[i][k] * b[k][j] for k in range(d)))


def commuting(a: Tensor, b: Tensor) -> Tensor:
    """A B of symmetric tensors with the same principal axes, symmetric to the last bit."""
    d = len(a)
    return mirrored(d, lambda i, j: total(a[i][k] * b[k][j] for k in range(d)))


def congruence(f: Tensor, a: Tensor) -> Tensor:
    """F A Fᵀ of a symmetric A, symmetric to the last bit."""
    d, half = len(a), product(f, a)
    return mirrored(d, lambda i, j: total(half[i][k] * f[j][k] for k in range(d)))


def scaled(a: Tensor, by: Any) -> Tensor:
    """`by` A; `by` (N,) or a number."""
    return _each(a, lambda x: by * x)


def shifted(a: Tensor, by: Any) -> Tensor:
    """A + `by` I; `by` (N,) or a number."""
    return made(len(a), lambda i, j: a[i][j] + by if i == j else a[i][j])


def _each(a: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """A function of every component; of mirrored ones once."""
    done = {id(x): function(x) for row in a for x in row}
    return made(len(a), lambda i, j: done[id(a[i][j])])


def trace(a: Tensor) -> Any:
    """(N,) Σ Aᵢᵢ."""
    return total(a[i][i] for i in range(len(a)))


def deviator(a: Tensor) -> Tensor:
    """A − (tr A/d) I."""
    return shifted(a, -trace(a) / len(a))


def symmetric(a: Tensor) -> Tensor:
    """(A + Aᵀ)/2."""
    return mirrored(len(a), lambda i, j: a[i][i] if i == j else (a[i][j] + a[j][i]) / 2)


def square(a: Tensor) -> Any:
    """(N,) A : A of a symmetric A."""
    d = len(a)
    diagonal = total(a[i][i] * a[i][i] for i in range(d))
    return diagonal + 2 * total(a[i][j] * a[i][j] for i in range(d) for j in range(i + 1, d))


def norm(xp: Any, a: Tensor) -> Any:
    """(N,) √(A : A) of a symmetric A, whose derivative at A = 0 is 0."""
    squared = square(a)
    positive = squared > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, squared, 1.0)), 0.0)


def determinant(a: Tensor) -> Any:
    """(N,) det A."""
    if len(a) == 2:
        return a[0][0] * a[1][1] - a[0][1] * a[1][0]
    return total(a[0][j] * _cofactor(a, 0, j) for j in range(3))


def _cofactor(a: Tensor, i: int, j: int) -> Any:
    (p, q), (r, s) = ((i + 1) % 3, (i + 2) % 3), ((j + 1) % 3, (j + 2) % 3)
    return a[p][r] * a[q][s] - a[p][s] * a[q][r]


def inverse(a: Tensor) -> Tensor:
    """A⁻¹ of a symmetric A."""
    if len(a) == 2:
        share = 1 / determinant(a)
        off = -share * a[0][1]
        return [[share * a[1][1], off], [off, share * a[0][0]]]
    cofactors = mirrored(3, lambda i, j: _cofactor(a, i, j))
    return scaled(cofactors, 1 / total(a[0][j] * cofactors[0][j] for j in range(3)))


def increment(gradient: Tensor, step: Any) -> Tensor:
    """I + Δt L: by what the deformation gradient grows in a step."""
    return shifted(scaled(gradient, step), 1.0)


def hencky(xp: Any, b: Tensor) -> tuple[Any, Tensor]:
    """(tr ε (N,), dev ε) of ε = ½ ln b."""
    size = determinant(b)
    shape = scaled(b, size ** (-1 / len(b)))
    if len(b) == 2:
        shear = deviator(shape)
        strain = scaled(shear, _over(xp, square(shear) / 2, xp.arcsinh, (1.0, -1 / 6, 3 / 40)) / 2)
    else:
        ratio = commuting(shifted(shape, -1.0), inverse(shifted(shape, 1.0)))
        strain = deviator(_series(ratio, ARTANH))
    return xp.log(size) / 2, strain


def cauchy_green(xp: Any, volume: Any, strain: Tensor) -> Tensor:
    """b = exp 2ε from tr ε (N,) and dev ε."""
    d = len(strain)
    if d == 2:
        twice = scaled(strain, 2.0)
        shear = scaled(twice, _over(xp, square(twice) / 2, xp.sinh, (1.0, 1 / 6, 1 / 120)))
        shape = shifted(shear, xp.sqrt(1 + square(shear) / 2))
        return scaled(shape, xp.exp(volume))
    ratio = _series(strain, TANH)
    shape = commuting(shifted(ratio, 1.0), inverse(shifted(scaled(ratio, -1.0), 1.0)))
    return scaled(shape, xp.exp(2 * volume / d) * determinant(shape) ** (-1 / d))


def _over(xp: Any, squared: Any, function: Any, series: tuple[float, float, float]) -> Any:
    """f(x)/x of x = √`squared`, for an odd function."""
    apart = squared > NEAR**2
    x = xp.sqrt(xp.where(apart, squared, 1.0))
    a, b, c = series
    return xp.where(apart, function(x) / x, a + squared * (b + squared * c))


def _series(a: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Σ c_k A^(2k+1) of a symmetric 3×3 tensor, by Horner's rule with A³ = I₁ A² − I₂ A + I₃ I: what is carried along
    are the three numbers p of p₀ I + p₁ A + p₂ A²."""
    squared = commuting(a, a)
    first, third = trace(a), determinant(a)
    second = (first * first - trace(squared)) / 2
    dense = [c for pair in zip((0.0,) * len(coefficients), coefficients, strict=True) for c in pair]
    p: tuple[Any, Any, Any] = (dense[-3], dense[-2], dense[-1])
    for c in dense[-4::-1]:
        p = (third * p[2] + c, p[0] - second * p[2], p[1] + first * p[2])
    return mirrored(3, lambda i, j: p[1] * a[i][j] + p[2] * squared[i][j] + (p[0] if i == j else 0.0))


def largest(xp: Any, a: Tensor) -> Any:
    """(N,) the largest principal value of a symmetric tensor; in space an upper bound, which is it where the other two
    are equal."""
    d = len(a)
    return trace(a) / d + ((d - 1) / d) ** 0.5 * norm(xp, deviator(a))
