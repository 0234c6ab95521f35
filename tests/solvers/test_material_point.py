"""The material-point method: what it conserves, and answers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._particles_matter import Matter, solid
from sciml.errors import SolverError
from sciml.geometry import Box, Disc
from sciml.solvers import MaterialPoint, _mpm_stepper, material_point

pytestmark = pytest.mark.compiled_quickly

TIMES = np.linspace(0, 0.25, 6)
BOX = Box((0.0, 0.0), (1.0, 1.0))
DISCS = Disc((0.3, 0.45), 0.12) | Disc((0.7, 0.55), 0.12)


def crossing(points):
    return np.where(points[:, :1] < 0.5, [[1.0, 0.2]], [[-1.0, -0.3]])


def velocities(found):
    return np.stack([found["velocity_x"].values, found["velocity_y"].values], -1).astype(np.float64)


@pytest.fixture(scope="module")
def collisions():
    """Two discs that collide, in both precisions."""
    case = Matter(DISCS, BOX, solid(1e5), crossing).case()
    return {d: MaterialPoint(resolution=24, dtype=d).solve(case, TIMES) for d in ("float32", "float64")}


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("float64", 1e-12)])
def test_a_collision_keeps_momentum_to_rounding(collisions, dtype, rounding):
    found = collisions[dtype]
    share = (found["node_volume"] / found["node_volume"].sum()).values
    momentum = np.einsum("n,tnd->td", share, velocities(found))
    speed = np.abs(velocities(found)[0]).max()
    assert np.abs(momentum - momentum[0]).max() <= rounding * speed
    kinetic = np.einsum("n,tnd->t", share, velocities(found) ** 2)
    assert kinetic.min() < 0.5 * kinetic[0]  # they did collide
    assert (kinetic <= kinetic[0] * (1 + 1e-6)).all()


def test_free_fall_is_exact():
    case = Matter(Disc((0.5, 0.6), 0.15), BOX, solid(1e5), lambda p: [0.5, 1.0], gravity=(0.0, -9.81)).case()
    found = MaterialPoint(resolution=24, dtype="float64").solve(case, TIMES)
    t = TIMES[:, None]
    np.testing.assert_allclose(
        found["displacement_y"], np.broadcast_to(t - 9.81 * t**2 / 2, found["x"].shape), atol=1e-13
    )
    np.testing.assert_allclose(found["velocity_y"], np.broadcast_to(1 - 9.81 * t, found["x"].shape), atol=1e-13)
    np.testing.assert_allclose(found["density"], 1000.0, rtol=1e-12)


def test_waves_run_through_a_bar_at_their_speed():
    """A bar in a snug channel hits its end: until the wave is back its momentum changes by ρ c v₀ in a second."""
    material, length = solid(1e5), 0.75
    speed = np.sqrt((material.lame + 2 * material.shear_modulus) / material.density)
    first = 1e-3 * speed
    case = Matter(
        Box((0.0, 0.0), (length, 1 / 8)), Box((0.0, 0.0), (1.0, 1 / 8)), material, lambda p: [-first, 0.0]
    ).case()
    times = np.linspace(0, 2.4 * length / speed, 41)
    found = MaterialPoint(resolution=32).solve(case, times)
    mean = found["velocity_x"].values.mean(1) / first
    inner = np.abs(mean) < 0.7
    slope = np.polyfit(times[inner], mean[inner], 1)[0]
    assert slope * length / speed == pytest.approx(1.0, rel=0.03)
    assert mean[-1] > 0.9  # it is thrown back


def test_an_unstable_march_says_when_and_why(monkeypatch):
    """Steps that are ten times as long as matter turns inside out in."""
    monkeypatch.setattr(_mpm_stepper, "TURN", 10.0)
    case = Matter(DISCS, BOX, solid(1.0), lambda p: 3.0 * np.sin(60 * p[:, ::-1])).case()
    with pytest.raises(SolverError, match=r"material_point: .* at t = .*, step \d+; a cfl below 1 may"):
        MaterialPoint(resolution=24, cfl=1.0).solve(case, TIMES)


def test_in_space_a_collision_keeps_momentum_and_portions_change_nothing(monkeypatch):
    """Two balls fall past each other's centre; also in portions that do not divide their particles, in single
    precision as in double precision."""
    balls = Disc((0.3, 0.45, 0.5), 0.16) | Disc((0.66, 0.55, 0.5), 0.16)
    box = Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    case = Matter(balls, box, solid(1e5), lambda p: np.where(p[:, :1] < 0.48, [[1.0, 0.2, 0.1]], [[-1.0, -0.3, 0.0]]))
    case, times = case.case(), [0.0, 0.03, 0.06]
    whole = MaterialPoint(resolution=12, dtype="float64").solve(case, times)
    count = whole.sizes["node"]
    assert count > 150 and count % 64
    monkeypatch.setattr(material_point, "PORTION", 64)
    parts = MaterialPoint(resolution=12, dtype="float64", max_substeps=999_999).solve(case, times)
    single = MaterialPoint(resolution=12, max_substeps=999_998).solve(case, times)
    speed = {n: np.stack([f[f"velocity_{a}"].values for a in "xyz"], -1).astype(float)
             for n, f in {"whole": whole, "parts": parts, "single": single}.items()}  # fmt: skip
    np.testing.assert_allclose(speed["parts"], speed["whole"], atol=1e-11)
    np.testing.assert_allclose(speed["single"], speed["whole"], atol=2e-3)
    share = (whole["node_volume"] / whole["node_volume"].sum()).values
    momentum = np.einsum("n,tnd->td", share, speed["whole"])
    assert np.abs(momentum - momentum[0]).max() < 1e-13
    kinetic = np.einsum("n,tnd->t", share, speed["whole"] ** 2)
    assert kinetic[-1] < 0.8 * kinetic[0]  # they did collide
