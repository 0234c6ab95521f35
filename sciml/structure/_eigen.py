"""Eigenvalues of 3 by 3 matrices, many at once."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 16  # matrices at a time: memory


def middle_eigenvalue(square: list[list[np.ndarray]]) -> np.ndarray:
    """The second of the three eigenvalues of the symmetric part of 3 by 3 matrices, in blocks; NaN where they are.

    By LAPACK: a closed form with an arc cosine loses half of the digits where two eigenvalues meet, as they do
    everywhere in plane flow.

    Args:
        square: [i][j] (N,).
    Returns: (N,).
    """
    found = np.full(len(square[0][0]), np.nan)
    for begin in range(0, found.size, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        m = np.empty((len(found[block]), 3, 3))
        for i in range(3):
            for j in range(i + 1):  # the lower triangle is what is read
                m[:, i, j] = 0.5 * (square[i][j][block] + square[j][i][block])
                m[:, j, i] = m[:, i, j]
        finite = np.isfinite(m).all((1, 2))
        found[block][finite] = np.linalg.eigvalsh(m[finite])[:, 1]
    return found


def imaginary_part(gradient: np.ndarray) -> np.ndarray:
    """The imaginary part ≥ 0 of the complex pair of eigenvalues of any real matrices, 0 where all three are real.

    Cardano: t³ + p t + q = 0 for t = λ − tr/3; its discriminant d = (q/2)² + (p/3)³ is positive where a pair is
    complex, and the pair's imaginary part is then √3/2 |∛(−q/2 + √d) − ∛(−q/2 − √d)|.

    Args:
        gradient: (3, 3, *shape).
    Returns: (*shape).
    """
    a = gradient
    trace = a[0, 0] + a[1, 1] + a[2, 2]
    own = [a[i, i] - trace / 3 for i in range(3)]
    x, y, z = own
    p = x * y + y * z + z * x - a[0, 1] * a[1, 0] - a[0, 2] * a[2, 0] - a[1, 2] * a[2, 1]
    q = -(
        x * (y * z - a[1, 2] * a[2, 1])
        - a[0, 1] * (a[1, 0] * z - a[1, 2] * a[2, 0])
        + a[0, 2] * (a[1, 0] * a[2, 1] - y * a[2, 0])
    )
    discriminant = (q / 2) ** 2 + (p / 3) ** 3
    root = np.sqrt(np.maximum(discriminant, 0.0))
    # one cube root without cancellation, the other from their product −p/3
    larger = np.cbrt(np.where(q > 0, -q / 2 - root, -q / 2 + root))
    other = -p / 3 / np.where(larger == 0, 1.0, larger)
    return np.where(discriminant > 0, np.sqrt(3) / 2 * np.abs(larger - other), 0.0)
