"""What is found in data of which no law is known, and what the audit then says of answers: exact cases."""

from __future__ import annotations

import numpy as np
import pytest

import sciml
from sciml.derivatives import central
from sciml.problems._observe import observe
from sciml.problems.own_data import DataProblem, Observed
from sciml.support import Grid, Mesh, Points

TIMES = np.linspace(0.0, 1.0, 5)


def box(n=16, m=12, periodic=(True, True), mask=None, stretch=0.0):
    x, y = np.linspace(0, 2.0, n + 1), np.linspace(0, 1.0, m + 1)
    return Grid((x, y + stretch * y * (1 - y)), periodic, mask)


def wave(grid, t):
    """(T, *shape) a bump that travels: its integral stays, exactly, on a periodic uniform grid."""
    x, y = np.moveaxis(grid.points(), -1, 0)
    return 2.0 + np.sin(np.pi * (x - t[:, None, None])) * np.cos(2 * np.pi * y)


def vortex(grid, t):
    """(T, 2, *shape) a velocity whose central differences cancel: u = ∂ψ/∂y, v = −∂ψ/∂x of one wave."""
    x, y = np.moveaxis(grid.points(), -1, 0)
    hx, hy = grid.widths[0][0], grid.widths[1][0]
    decay = np.exp(-t)[:, None, None]
    kx, ky = np.sin(np.pi * hx) / hx, np.sin(2 * np.pi * hy) / hy  # symbols of the differences
    u, v = ky * np.sin(np.pi * x) * np.cos(2 * np.pi * y), -kx * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
    return np.stack([decay * u, decay * v], axis=1)


def test_derivatives_are_exact_for_parabolas_on_stretched_axes_and_stop_at_ends():
    grid = box(periodic=(False, False), stretch=0.4)
    y = grid.points()[..., 1]
    found = central.derivative(3 * y**2 - y, grid, 1)
    assert np.isnan(found[[0, -1]]).all() and np.isfinite(found[1:-1]).all()
    np.testing.assert_allclose(found[1:-1], (6 * y - 1)[1:-1], rtol=1e-11)


def test_derivatives_leave_out_masked_cells_and_their_neighbours():
    mask = np.ones((12, 16), int)
    mask[5, 7] = 0
    grid = box(mask=mask)
    found = central.divergence(np.moveaxis(vortex(grid, TIMES), 1, 0), grid)
    assert found.shape == (5, 12, 16)
    holes = {(int(a), int(b)) for a, b in np.argwhere(np.isnan(found[0]))}
    assert holes == {(5, 7), (4, 7), (6, 7), (5, 6), (5, 8)}
    assert np.nanmax(np.abs(found)) < 1e-12


def test_bounds_conserved_integrals_and_divergence():
    grid = box()
    c, uv = wave(grid, TIMES), vortex(grid, TIMES)
    still = np.ones_like(c)
    frames = np.concatenate([c[:, None], uv, still[:, None], (c * np.exp(-TIMES)[:, None, None])[:, None]], axis=1)
    found = observe([(grid, TIMES, frames), (grid, TIMES, 2 * frames)], ("c", "u", "v", "wall", "decaying"), ("u", "v"))
    assert found.bounds["c"] == (c.min(), 2 * c.max())
    # u and v have no mean, and keep it; what stands still keeps everything, which says nothing
    assert found.conserved == ("c", "u", "v")
    assert found.tolerance < 1e-13
    assert found.divergence is not None and found.divergence < 1e-12


def test_divergence_of_a_source_is_what_it_is():
    """u = x, v = 0 on a box of length 2: ∇·u = 1, U² = ⟨x²⟩."""
    grid = box(periodic=(False, False))
    x = grid.points()[..., 0]
    frames = np.stack([x, np.zeros_like(x)])[None]
    found = observe([(grid, None, frames)], ("u", "v"), ("u", "v"))
    assert found.divergence == pytest.approx(2.0 / np.sqrt(np.mean(x**2)), rel=1e-12)
    assert found.conserved == ()  # one frame says nothing of that


def test_weights_are_those_of_the_support():
    """A linear field on nodes: its integral over a mesh is that of the weights, masked cells take no part."""
    position = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]], float)
    mesh = Mesh(position, {"triangle": np.array([[0, 1, 4], [1, 3, 4], [3, 2, 4], [2, 0, 4]])})
    w = mesh.weights()
    one = np.array([1.0, 0, 0, 0, 0])
    two = np.array([0, 0, 0, 0, w[0] / w[4]])
    frames = np.stack([one, two])[:, None]
    assert observe([(mesh, TIMES[:2], frames)], ("c",)).conserved == ("c",)
    points = Points(position)
    assert observe([(points, TIMES[:2], frames)], ("c",)).conserved == ()
    assert observe([(mesh, TIMES[:2], frames)], ("c",)).divergence is None
    mask = np.ones((2, 2))
    mask[0, 0] = 0
    grid = Grid((np.arange(3.0), np.arange(3.0)), mask=mask)
    frames = np.array([[[[99.0, 1], [2, 3]]], [[[-99.0, 3], [2, 1]]]])
    found = observe([(grid, TIMES[:2], frames)], ("c",))
    assert found.bounds["c"] == (1.0, 3.0) and found.conserved == ("c",) and found.tolerance == 0.0


def problem(observed=None, **more):
    return DataProblem("smoke", ["c", "u", "v"], ["rate"], observed=observed, **more)


def answer(p, grid, frames, times=TIMES):
    names = [f.name for f in p.fields]
    dims = ("time", *grid.dims)
    fields = {n: (dims, frames[:, i]) for i, n in enumerate(names)}
    return sciml.data.solution(p.case(label="one", rate=1.0), times, fields, grid)


def both(grid):
    return np.concatenate([wave(grid, TIMES)[:, None], vortex(grid, TIMES)], axis=1)


def test_the_audit_of_training_data_is_clean():
    grid = box()
    p = problem(periodic=(True, True))
    seen = observe([(grid, TIMES, both(grid))], ("c", "u", "v"), p.velocity)
    found = sciml.audit(answer(p.with_observed(seen), grid, both(grid)))
    assert [r.check for r in found.rows] == ["bounds"] * 3 + ["invariant"] * 3 + ["divergence"]
    for row in found.rows:
        assert row.floor is not None
        assert row.rms <= row.floor + 1e-13
    assert found.frames == 5 and not found.notes


def test_the_audit_finds_what_is_wrong():
    grid = box()
    p = problem(periodic=(True, True))
    p = p.with_observed(observe([(grid, TIMES, both(grid))], ("c", "u", "v"), p.velocity))
    frames = both(grid)
    frames[2, 0, 3, 4] = 5.0  # one value of 960 beyond [1, 3]
    frames[:, 0] += 0.0
    found = sciml.audit(answer(p, grid, frames))
    low, high = p.observed.bounds["c"]
    (row,) = [r for r in found.rows if r.name.startswith("c within")]
    assert row.rms == pytest.approx(1 / 960) and row.largest == pytest.approx(1 / 192)
    assert row.relative == pytest.approx((5.0 - high) / (high - low))
    frames = both(grid)
    frames[:, 0] += 0.1 * TIMES[:, None, None]  # mass grows by 0.1 a unit of time: ∫ = 4, volume 2
    (row,) = sciml.audit(answer(p, grid, frames)).select("total c")
    assert row.unit == "m2"
    assert row.largest == pytest.approx(0.2) and row.rms == pytest.approx(0.2 * np.sqrt(np.mean(TIMES**2)))
    assert row.relative == pytest.approx(row.rms / (2 * (2 + 0.1 * TIMES.mean())), rel=1e-6)
    assert row.rms > 1e6 * row.floor
    x = grid.points()[..., 0]
    frames = both(grid)
    frames[:, 1] += 0.3 * np.sin(np.pi * x)
    (row,) = [r for r in sciml.audit(answer(p, grid, frames)).rows if r.check == "divergence"]
    symbol = np.sin(np.pi * grid.widths[0][0]) / grid.widths[0][0]
    assert row.rms == pytest.approx(0.3 * symbol / np.sqrt(2), rel=1e-9)


def test_the_audit_says_what_it_could_not_check():
    grid, p = box(), problem(periodic=(True, True))
    found = sciml.audit(answer(p, grid, both(grid)))
    assert [r.check for r in found.rows] == ["divergence"] and found.rows[0].floor is None
    assert any("nothing is known of the training data" in n for n in found.notes)
    rng = np.random.default_rng(0)
    nodes = Points(rng.uniform(0, 1, (30, 2)))
    p = problem(Observed({"c": (0.0, 1.0)}, ("c",), 1e-6))
    values = rng.uniform(0, 1, (5, 3, 30))
    found = sciml.audit(answer(p, nodes, values))
    assert [r.check for r in found.rows] == ["bounds", "invariant"]
    assert any(n.startswith("divergence: not checked") and "grid" in n for n in found.notes)
    found = sciml.audit(answer(p, nodes, values[:1], TIMES[:1]))
    assert any("one frame" in n for n in found.notes)


def test_frames_that_are_asked_for():
    grid, p = box(), problem(periodic=(True, True))
    assert sciml.audit(answer(p, grid, both(grid)), frames=3).frames == 3
