"""Tensors (d, d, N), one at each particle, by NumPy's linear algebra."""

from __future__ import annotations

import numpy as np


def last(a):
    """(N, d, d)."""
    return np.moveaxis(a, -1, 0)


def eye(d, n):
    return np.repeat(np.eye(d)[..., None], n, -1)


def product(a, b):
    return np.einsum("ikn,kjn->ijn", a, b)


def transposed(a):
    return a.swapaxes(0, 1)


def turned(f, a):
    """F A Fᵀ."""
    return product(product(f, a), transposed(f))


def trace(a):
    return np.trace(a)


def determinant(a):
    return np.linalg.det(last(a))


def inverse(a):
    return np.moveaxis(np.linalg.inv(last(a)), 0, -1)


def symmetric(a):
    return (a + transposed(a)) / 2


def shifted(a, by):
    """A + by I."""
    return a + by * np.eye(len(a))[..., None]


def deviator(a):
    return shifted(a, -trace(a) / len(a))


def norm(a):
    return np.sqrt((a**2).sum((0, 1)))
