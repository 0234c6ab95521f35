"""Random velocity fields without divergence on a periodic box, with the energy of each shell of waves as asked for."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sciml.errors import InputError
from sciml.support import Grid, Support


def solenoidal(energies: np.ndarray, seed: int, grid: Support, name: str) -> list[np.ndarray]:
    """Velocity components u(x) = Σ_m a_m e^(i 2πm·x/L), a_m ⟂ m, at the centres of cells.

    Shell s holds the whole wave vectors with |m| nearest to s and the energy ½ Σ |a_m|² = `energies[s − 1]`, to
    rounding. Amplitudes are Gaussian, drawn for each wave vector, so that equal seeds give one field at all
    resolutions: a grid of n cells holds all of it up to the shells s < n/3, which are the ones that a spectral solver
    with the 2/3 rule keeps whole.

    Args:
        energies: (S,) of the shells 1, 2, ..., in velocity² units.
        seed: a whole number from 0 on.
        grid: uniform, periodic, with equal extents along all axes.
        name: of the problem, for messages.
    Returns: the components along x, y, (z), each of the grid's shape.
    Raises:
        InputError: energies, a seed or a support that are not as said.
    """
    energies = np.asarray(energies, np.float64)
    if (energies < 0).any():
        raise InputError(f"{name}: initial_spectrum: expected energies >= 0, got {energies.min():g}")
    if not float(seed).is_integer():
        raise InputError(f"{name}: seed: expected a whole number, got {seed!r}")
    if not isinstance(grid, Grid) or not grid.uniform_cells:
        raise InputError(f"{name}: a random field begins on a uniform grid alone, got {grid!r}")
    d, shape = grid.dimensions, grid.shape
    last = min(len(energies), (min(shape) - 1) // 3)
    vectors, amplitudes = _drawn(last, d, int(seed))
    sizes = np.rint(np.sqrt((vectors**2).sum(1))).astype(int)
    drawn = np.bincount(sizes, (np.abs(amplitudes) ** 2).sum(1), minlength=last + 1)[1 : last + 1]
    scale = np.concatenate([[0.0], np.sqrt(energies[:last] / np.where(drawn > 0, drawn, 1))])
    amplitudes = amplitudes * scale[sizes][:, None]
    # places are (j + 1/2 L/n): the transform's begin at 0
    amplitudes = amplitudes * np.exp(1j * np.pi * (vectors / np.array(shape[::-1])).sum(1))[:, None]
    found = []
    for c in range(d):
        modes = np.zeros((*shape[:-1], shape[-1] // 2 + 1), complex)
        for sign, values in ((1, amplitudes[:, c]), (-1, amplitudes[:, c].conj())):
            m = sign * vectors
            half = m[:, 0] >= 0
            where = tuple(m[half, a] % n for a, n in zip(range(d - 1, 0, -1), shape[:-1], strict=True))
            modes[(*where, m[half, 0])] = values[half]
        found.append(np.fft.irfftn(modes, shape, axes=range(d)) * math.prod(shape))
    return found


@lru_cache(maxsize=4)
def _drawn(last: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, d) wave vectors up to shell `last`, one of each pair ±m, components along x, y, (z), and their complex
    amplitudes without divergence. Those whose largest component is r have a generator of their own."""
    line = np.arange(-last, last + 1)
    cube = np.stack(np.meshgrid(*[line] * d, indexing="ij"), -1).reshape(-1, d)
    cube = cube[len(cube) // 2 + 1 :]  # in lexicographic order the pairs lie about the middle, m = 0
    reach = np.abs(cube).max(1)
    order = np.argsort(reach, kind="stable")
    cube, reach = cube[order], reach[order]
    parts = []
    for r in range(1, last + 1):
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0xF10, r])))
        parts.append(random.standard_normal((int((reach == r).sum()), d, 2)) @ np.array([1, 1j]))
    amplitudes = np.concatenate(parts) if parts else np.zeros((0, d), complex)
    square = (cube**2).sum(1, keepdims=True)
    amplitudes = amplitudes - cube * (cube * amplitudes).sum(1, keepdims=True) / square
    inside = np.rint(np.sqrt(square[:, 0])) <= last
    return cube[inside], amplitudes[inside]


def peaked(peak: float, energy: float) -> np.ndarray:
    """(S,) shell energies ∝ s⁴ e^(−2(s/peak)²), in sum `energy`, up to where nothing is left."""
    s = np.arange(1, math.ceil(4.5 * peak) + 1)
    found = s**4.0 * np.exp(-2 * (s / peak) ** 2)
    return energy * found / found.sum()
