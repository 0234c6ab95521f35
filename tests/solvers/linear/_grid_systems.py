"""Systems on grids for tests of multigrid cycles."""

from typing import Any

import numpy as np

from sciml.solvers.linear import End, GridSystem

WALLS, AROUND, OUT = (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC), (End.WALL, End.OPEN)
OPEN = (End.OPEN, End.OPEN)


def between(c: np.ndarray, ends) -> tuple[np.ndarray, ...]:
    """The harmonic mean of both cells on faces; none where one of both is 0."""
    faces = []
    for k, pair in enumerate(ends):
        axis = c.ndim - 1 - k
        line = np.pad(c, [(int(a == axis),) * 2 for a in range(c.ndim)], "wrap" if pair == AROUND else "edge")
        low, high = (np.take(line, range(s, c.shape[axis] + 1 + s), axis) for s in (0, 1))
        faces.append(np.where(low * high > 0, 2 * low * high / np.where(low + high > 0, low + high, 1), 0))
    return tuple(faces)


def of_cells(c: np.ndarray, ends, spacing=None) -> GridSystem:
    return GridSystem(c.shape, ends, spacing or tuple(1 / n for n in c.shape[::-1]), between(c, ends))


def blocks(n: int, width: int, shift: int, d=2) -> np.ndarray:
    """A chessboard of 1 and 10⁴."""
    count = sum((i + shift) // width for i in np.indices((n,) * d))
    return np.where(count % 2, 1e4, 1.0)


def gaps(n: int) -> np.ndarray:
    """Plates across the box with gaps of one cell, at odd places too."""
    c = np.ones((n, n))
    for number, row in enumerate(range(5, n - 5, 9)):
        c[row] = 0
        c[row, (7 * number + 3) % n] = 1
    c[n // 2 : n // 2 + 3, 2:5] = 0
    return c


def random(system: GridSystem, seed=0) -> np.ndarray:
    r = np.where(system.live(np), np.random.default_rng(seed).standard_normal(system.shape), 0).ravel()
    null = system.null_space()
    return (r if null is None else r - null @ (null.T @ r)).reshape(system.shape)


def check_cycle(apply: Any, system: GridSystem) -> None:
    """Linear, symmetric and positive."""
    r = np.stack([random(system, seed).ravel() for seed in range(6)], 1)
    z = np.stack([apply @ column for column in r.T], 1)
    forms = r.T @ z
    assert np.abs(forms - forms.T).max() < 1e-11 * np.abs(forms).max()
    assert np.linalg.eigvalsh((forms + forms.T) / 2).min() > 0
    share = np.random.default_rng(9).standard_normal(6)
    assert np.abs(apply @ (r @ share) - z @ share).max() < 1e-11 * np.abs(z).max()


SYSTEMS = {
    "line": of_cells(np.exp(np.random.default_rng(1).standard_normal(77)), (OUT,)),
    "odd": of_cells(np.exp(np.random.default_rng(2).standard_normal((23, 37))), (OUT, WALLS)),
    "gaps, open": of_cells(gaps(32), (OUT, OPEN)),
    "gaps, closed": of_cells(gaps(32), (AROUND, WALLS)),
    "odd and around": of_cells(blocks(27, 5, 2), (AROUND, AROUND)),
    "space": of_cells(blocks(12, 3, 1, 3), (AROUND, WALLS, OUT)),
    "long": GridSystem((16, 24), (OUT, WALLS), (8.0, 1.0)),
}
