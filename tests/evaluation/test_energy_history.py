"""Energy of fluctuations, and rollouts that lose it or drown in it."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.evaluation import EnergyHistory, statistics_of
from sciml.geometry import Box
from sciml.problem import Case
from sciml.problems import DataProblem
from sciml.support import Grid

UVW = ("u", "v", "w")


def box(periodic: tuple[bool, bool, bool] = (True, False, True)) -> tuple[Grid, Case]:
    grid = Grid.uniform(Box((0.0, -1.0, 0.0), (4.0, 1.0, 2.0), periodic), (8, 12, 8))
    problem = DataProblem("own_flow", UVW, dimensions=3, periodic=periodic)
    return grid, Case(problem, {}, {}, "", "", grid.extents)


def mean_flow(grid: Grid) -> np.ndarray:
    y = grid.coordinate(1) * np.ones(grid.shape)
    return np.stack([15 * (1 - y**2), 0 * y, 0 * y])


def test_fluctuations_are_about_the_mean_along_periodic_axes():
    """u = 15 (1 − y²) + cos(2πx/4): k' = ¼ whatever the mean."""
    grid, case = box()
    wave = np.cos(np.pi / 2 * grid.coordinate(0)) * np.ones(grid.shape)
    frame = mean_flow(grid) + np.stack([wave, 0 * wave, 0 * wave])
    statistic = EnergyHistory(gradients=False)
    (entry,) = statistics_of([(0.0, frame)], statistic, case=case, support=grid, fields=UVW)["energy_history"][
        "entries"
    ]
    assert entry["fluctuation_energy"] == pytest.approx([0.25], rel=1e-12)
    grid, case = box((False,) * 3)
    statistic = EnergyHistory(gradients=False)
    (entry,) = statistics_of([(0.0, frame)], statistic, case=case, support=grid, fields=UVW)["energy_history"][
        "entries"
    ]
    assert "fluctuation_energy" not in entry


@pytest.mark.parametrize(
    "factor,step,why",
    [
        (3.0, 3, "fluctuations beyond 4 times the largest of the truth"),
        (0.3, 3, "fluctuations below 1/4 of the least of the truth"),
        (1.1, None, ""),
    ],
)
def test_turbulence_that_grows_or_dies_is_told_though_the_mean_flow_stays(factor, step, why):
    grid, case = box()
    noise = np.random.default_rng(0).standard_normal((3, *grid.shape))
    noise -= noise.mean((1, 3), keepdims=True)
    energy = EnergyHistory(gradients=False)
    energy.begin(UVW)
    for k in range(4):
        energy.add("truth", 0, 0, k, 0.1 * k, mean_flow(grid) + noise, case, grid)
        energy.add("row", 0, 0, k, 0.1 * k, mean_flow(grid) + noise * factor ** max(0, k - 1), case, grid)
    truth, row = energy.result()["entries"]
    assert truth["diverged"] is None
    assert row["kinetic_energy"][2] < 2 * row["largest_energy"]  # that alone would not tell
    assert (row["diverged"] and row["diverged"]["step"]) == step
    assert step is None or row["diverged"]["why"] == why


def test_a_flow_without_turbulence_has_no_lower_bound():
    grid, case = box()
    energy = EnergyHistory(gradients=False)
    energy.begin(UVW)
    for row, size in (("truth", 1e-9), ("row", 1e-12)):
        wave = size * np.cos(np.pi / 2 * grid.coordinate(0)) * np.ones(grid.shape)
        energy.add(row, 0, 0, 0, 0.0, mean_flow(grid) + wave, case, grid)
    assert [e["diverged"] for e in energy.result()["entries"]] == [None, None]
