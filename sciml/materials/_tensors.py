"""Small tensors at many particles, in array-API code: components first, the particle last, (d, d, N) with d = 2 or 3.

Products are written out by component: what reads them is compiled into one loop over particles. Functions of a
symmetric tensor are taken in the frame of its principal axes, which counts as given when they are differentiated: there
the tensor is diagonal but for what an infinitesimal change adds, and to first order (Yu. L. Daleckii and S. G. Krein,
1965) f(A)ᵢⱼ = f[λᵢ, λⱼ] Aᵢⱼ off the diagonal, with divided differences f[a, b] = (f(a) − f(b))/(a − b). First
derivatives are exact, and finite where principal values are equal; second ones are not.
"""

from __future__ import annotations

from typing import Any

#: sweeps of Jacobi's rotations over a 3×3 tensor: off-diagonals fall below rounding of float64
SWEEPS = 5
#: of a principal value: below this difference a divided difference is that of its series
NEAR = 1e-3

Rows = list[list[Any]]


def pack(xp: Any, rows: Rows) -> Any:
    """(d, d, N) of d × d arrays (N,)."""
    return xp.stack([xp.stack(row) for row in rows])


def identity(xp: Any, like: Any) -> Any:
    """(d, d, N) unit tensors, of the shape and type of `like`."""
    d = like.shape[0]
    zero = xp.zeros_like(like[0, 0])
    return pack(xp, [[zero + 1 if i == j else zero for j in range(d)] for i in range(d)])


def product(xp: Any, a: Any, b: Any) -> Any:
    """A B."""
    d = range(a.shape[0])
    return pack(xp, [[sum_of(a[i, k] * b[k, j] for k in d) for j in d] for i in d])


def transpose(xp: Any, a: Any) -> Any:
    """Aᵀ."""
    return xp.swapaxes(a, 0, 1)


def congruence(xp: Any, f: Any, a: Any) -> Any:
    """F A Fᵀ of a symmetric A, symmetric to the last bit."""
    d = f.shape[0]
    half = [[sum_of(f[i, k] * a[k, j] for k in range(d)) for j in range(d)] for i in range(d)]
    upper = {(i, j): sum_of(half[i][k] * f[j, k] for k in range(d)) for i in range(d) for j in range(i, d)}
    return pack(xp, [[upper[min(i, j), max(i, j)] for j in range(d)] for i in range(d)])


def sum_of(terms: Any) -> Any:
    """Their sum, without the 0 that `sum` begins with."""
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def trace(a: Any) -> Any:
    """(N,) Σ Aᵢᵢ."""
    return sum_of(a[i, i] for i in range(a.shape[0]))


def deviator(xp: Any, a: Any) -> Any:
    """A − (tr A/d) I."""
    return shifted(xp, a, -trace(a) / a.shape[0])


def shifted(xp: Any, a: Any, by: Any) -> Any:
    """A + by I, `by` (N,) or a number."""
    d = range(a.shape[0])
    return pack(xp, [[a[i, j] + by if i == j else a[i, j] for j in d] for i in d])


def symmetric(xp: Any, a: Any) -> Any:
    """(A + Aᵀ)/2."""
    return (a + transpose(xp, a)) / 2


def square(a: Any) -> Any:
    """(N,) A : A."""
    d = range(a.shape[0])
    return sum_of(a[i, j] * a[i, j] for i in d for j in d)


def norm(xp: Any, a: Any) -> Any:
    """(N,) √(A : A), whose derivative at A = 0 is 0."""
    return root(xp, square(a))


def root(xp: Any, x: Any) -> Any:
    """√x of x ≥ 0, whose derivative at 0 is 0."""
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, 1.0)), 0.0)


def determinant(a: Any) -> Any:
    """(N,) det A."""
    if a.shape[0] == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return sum_of(a[0, j] * cofactor(a, 0, j) for j in range(3))


def cofactor(a: Any, i: int, j: int) -> Any:
    """(N,) of a 3×3 tensor."""
    (p, q), (r, s) = ((i + 1) % 3, (i + 2) % 3), ((j + 1) % 3, (j + 2) % 3)
    return a[p, r] * a[q, s] - a[p, s] * a[q, r]


def inverse(xp: Any, a: Any) -> Any:
    """A⁻¹."""
    if a.shape[0] == 2:
        adjugate = pack(xp, [[a[1, 1], -a[0, 1]], [-a[1, 0], a[0, 0]]])
    else:
        adjugate = pack(xp, [[cofactor(a, j, i) for j in range(3)] for i in range(3)])
    return adjugate / determinant(a)


def increment(xp: Any, gradient: Any, step: Any) -> Any:
    """I + Δt L: by what the deformation gradient grows in a step."""
    return shifted(xp, step * gradient, 1.0)


def constant(x: Any) -> Any:
    """The same numbers, which count as given when something is differentiated: their bits, read anew."""
    return x.view(f"int{8 * x.dtype.itemsize}").view(x.dtype)


def axes(xp: Any, a: Any) -> Any:
    """(d, d, N) the principal axes of a symmetric tensor as columns; they count as given."""
    a = constant(a)
    one = xp.ones_like(a[0, 0])
    if a.shape[0] == 2:
        angle = xp.arctan2(2 * a[0, 1], a[0, 0] - a[1, 1]) / 2
        c, s = xp.cos(angle), xp.sin(angle)
        return pack(xp, [[c, -s], [s, c]])
    rows = [[a[i, j] for j in range(3)] for i in range(3)]
    found = [[one if i == j else 0 * one for j in range(3)] for i in range(3)]
    for _ in range(SWEEPS):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            c, s = _rotation(xp, rows[p][p], rows[q][q], rows[p][q])
            _rotate(rows, p, q, c, s)
            for row in found:
                row[p], row[q] = c * row[p] - s * row[q], s * row[p] + c * row[q]
    return pack(xp, found)


def _rotation(xp: Any, app: Any, aqq: Any, apq: Any) -> tuple[Any, Any]:
    """(cos, sin) of the smaller angle that makes the entry at p, q zero (G. H. Golub and C. F. Van Loan, 8.5.2)."""
    apart, twice = aqq - app, 2 * apq
    sign = xp.where(apart >= 0, 1.0, -1.0)
    below = xp.abs(apart) + xp.sqrt(apart * apart + twice * twice)
    tangent = xp.where(below > 0, sign * twice / xp.where(below > 0, below, 1.0), 0.0)
    c = 1 / xp.sqrt(1 + tangent * tangent)
    return c, tangent * c


def _rotate(rows: Rows, p: int, q: int, c: Any, s: Any) -> None:
    """Gᵀ A G in place, G turning in the plane of axes p and q."""
    for row in rows:
        row[p], row[q] = c * row[p] - s * row[q], s * row[p] + c * row[q]
    rows[p], rows[q] = (
        [c * x - s * y for x, y in zip(rows[p], rows[q], strict=True)],
        [s * x + c * y for x, y in zip(rows[p], rows[q], strict=True)],
    )


def logarithm(xp: Any, a: Any) -> Any:
    """ln A of a symmetric positive tensor that is diagonal but for what its change adds."""

    def divided(p: Any, q: Any) -> Any:  # 2 artanh(x)/x, x = (p − q)/(p + q)
        x = (p - q) / (p + q)
        apart = xp.abs(x) > NEAR
        return xp.where(apart, (xp.log(p) - xp.log(q)) / xp.where(apart, p - q, 1.0), 2 * (1 + x * x / 3) / (p + q))

    return _function(xp, a, xp.log, divided)


def exponential(xp: Any, a: Any) -> Any:
    """exp A of a symmetric tensor that is diagonal but for what its change adds."""

    def divided(p: Any, q: Any) -> Any:  # exp((p + q)/2) sinh(x)/x, x = (p − q)/2
        x = (p - q) / 2
        apart = xp.abs(x) > NEAR
        ratio = xp.where(apart, xp.sinh(x) / xp.where(apart, x, 1.0), 1 + x * x / 6)
        return xp.exp((p + q) / 2) * ratio

    return _function(xp, a, xp.exp, divided)


def _function(xp: Any, a: Any, function: Any, divided: Any) -> Any:
    d = a.shape[0]
    given = [constant(a[i, i]) for i in range(d)]
    return pack(xp, [
        [function(a[i, i]) if i == j else divided(given[i], given[j]) * a[i, j] for j in range(d)] for i in range(d)
    ])  # fmt: skip


def largest(xp: Any, a: Any) -> Any:
    """(N,) the largest principal value of a symmetric tensor."""
    if a.shape[0] == 2:
        return trace(a) / 2 + norm(xp, deviator(xp, a)) / 2**0.5
    turn = axes(xp, a)
    inner = congruence(xp, transpose(xp, turn), a)
    return xp.maximum(xp.maximum(inner[0, 0], inner[1, 1]), inner[2, 2])
