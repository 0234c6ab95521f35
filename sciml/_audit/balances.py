"""Balances over control volumes, and the floor of each defect."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sciml._audit.rows import Defect
from sciml._audit.view import View, mean_square, present
from sciml.expressions import Balance, Field, Input, leaves, time_derivative
from sciml.geometry import AXES


def audit_balance(name: str, balance: Balance, view: View, chosen: list[int]) -> list[Defect]:
    grid = view.grid
    sizes = [s for s in (2**k for k in range(12)) if all(n % s == 0 and n // s >= 2 for n in grid.shape)] or [1]
    components = len(balance.components())
    names = [name] if components == 1 else [f"{name} {AXES[i]}" for i in range(components)]
    volumes = grid.volumes()
    squares = np.zeros((components, len(sizes) + 1))
    halved, refined, largest = np.zeros_like(squares), np.zeros_like(squares), np.zeros_like(squares)
    known = np.ones(squares.shape, dtype=bool)  # sizes of which some control volume touches no solid cell
    flux_squares = np.zeros(components)
    for k in chosen:
        lattice = view.lattice(k)
        beyond = view.beyond(name, components, k)

        def defects(lattice: Any, beyond: np.ndarray = beyond) -> list[np.ndarray]:
            return [f - b for f, b in zip(lattice.finite_volume(balance), beyond, strict=True)]

        fine = [np.where(view.fluid, f, np.nan) for f in defects(lattice)]
        better = defects(view.lattice(k, order=4)) if min(grid.shape) >= 5 else fine
        later = defects(view.lattice(k, width=2)) if view.rates_from == "frames" else fine
        coarse = defects(view.lattice(k, coarse=True)) if view.coarse_grid is not None else None
        sampled = _sampling_errors(balance, lattice, view)
        for i, flux in enumerate(lattice.fluxes(balance)):
            flux_squares[i] += np.mean([mean_square(f, view) for f in flux]) / len(chosen)
            for j, size in enumerate([*sizes, 0]):
                mean = (lambda a, s=size: _blocks(a, volumes, s)) if size else (lambda a: _whole(a, volumes))
                defect = mean(fine[i])
                known[i, j] = known[i, j] and present(defect, view).size > 0
                squares[i, j] += mean_square(defect, view) / len(chosen)
                largest[i, j] = max(largest[i, j], float(np.abs(present(defect, view)).max(initial=0.0)))
                gap = _coarse_gap(defect, coarse[i], view, size) if coarse is not None else None
                rest = mean_square(mean(later[i] - fine[i]) / 3, view) + mean_square(mean(sampled[i]), view)
                halved[i, j] += ((0.0 if gap is None else mean_square(gap, view)) + rest) / len(chosen)
                refined[i, j] += (mean_square(mean(better[i] - fine[i]), view) + rest) / len(chosen)
    rows = []
    for i, label in enumerate(names):
        reference = math.sqrt(flux_squares[i])
        rounding = 4 * view.epsilon * reference / min(float(w.min()) for w in grid.widths)
        for j, size in enumerate([*sizes, 0]):
            if not known[i, j]:
                continue
            extents = [(b - a) for a, b in view.case.geometry.extents]
            length = max(extents) if size == 0 else size * max(float(w.mean()) for w in grid.widths)
            rms = math.sqrt(squares[i, j])
            floor = max(math.sqrt(halved[i, j]), math.sqrt(refined[i, j]), rounding / max(size, 1))
            relative = rms * view.case.scales.length / reference if reference > 0 else 0.0
            rows.append(
                Defect("balance", label, balance.unit, rms, largest[i, j], relative, floor, size, length)
            )  # fmt: skip
    return rows


def _sampling_errors(balance: Balance, lattice: Any, view: View) -> list[np.ndarray]:
    """What storage and source lose where a cell's mean is taken from its centre: Σ h²/24 ∂²/∂x², for each component.

    Inputs that the case itself gives on cells are these means, and lose nothing.
    """
    rows = []
    for storage, _, source in balance.components():
        total = np.zeros(view.grid.shape)
        if storage is not None:
            total = total + lattice.cells(time_derivative(storage))
        if not any(isinstance(leaf, Input) and leaf.name in view.case.inputs for leaf in leaves(source)):
            total = total - lattice.cells(source)
        error = np.zeros_like(total)
        for axis, periodic in enumerate(view.grid.periodic):
            n = total.shape[-1 - axis]
            if n >= 3:
                k = np.arange(n) if periodic else np.clip(np.arange(n), 1, n - 2)  # at an end, its neighbour's value
                low, mid, high = (np.take(total, (k + s) % n, axis=-1 - axis) for s in (-1, 0, 1))
                error += (low - 2 * mid + high) / 24
        rows.append(error)
    return rows


def _whole(values: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    return np.array([np.sum(values * volumes) / np.sum(volumes)])


def _coarse_gap(defect: np.ndarray, coarse: np.ndarray, view: View, size: int) -> np.ndarray | None:
    """(D(2h) − D(h)) / 3 on the same control volumes; None where the coarse grid has no such volumes."""
    assert view.coarse_grid is not None
    if size == 1:
        return None
    volumes = view.coarse_grid.volumes()
    same = _whole(coarse, volumes) if size == 0 else _blocks(coarse, volumes, size // 2)
    return (same - defect) / 3


def fields_of(balance: Balance) -> set[str]:
    found: set[str] = set()
    for storage, flux, source in balance.components():
        for e in (*flux, source, *(() if storage is None else (storage,))):
            found |= {leaf.name for leaf in leaves(e) if isinstance(leaf, Field)}
    return found


def _blocks(values: np.ndarray, volumes: np.ndarray, size: int) -> np.ndarray:
    """Volume-weighted means over blocks of size^D cells."""
    weighted, weight = values * volumes, volumes
    for axis in range(volumes.ndim):
        shape = weighted.shape
        split = (*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
        weighted = weighted.reshape(split).sum(axis=axis + 1)
        weight = weight.reshape(split).sum(axis=axis + 1)
    return weighted / weight
