"""What an audit says of two fluids: water over time, its bounds, and the force on a barrier."""

import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.problems import DamFlow
from sciml.solvers import TwoPhaseFlow, _two_phase_force


@pytest.fixture(scope="module")
def dam():
    """Until water goes out again over the inlet, from the second frame on: the first holds the shock of the start."""
    case = DamFlow().case(barrier_height=0.12, barrier_width=0.06)
    return TwoPhaseFlow((20, 75)).solve(case, np.linspace(0, 1, 11)).isel(time=slice(1, None))


def test_water_that_comes_in_is_there_at_the_next_frame(dam):
    audit = sciml.audit(dam)
    (water,) = audit.select("fraction, between frames", 0)
    come_in = 0.1 / 0.6  # m²/s over the area
    assert water.rms < 1e-5 * come_in and water.rms <= water.floor
    (bounds,) = audit.select("alpha within 0 to 1")
    assert bounds.rms == 0 and bounds.check == "bounds"
    assert any("between frames" in note for note in audit.notes)
    (inlet,) = audit.select("alpha on inlet")  # a part of a side
    assert inlet.rms < 2e-3


def test_lost_water_and_values_out_of_bounds_are_seen(dam):
    lost = dam.copy(deep=True)
    lost["alpha"][6:] *= 0.97
    (row,) = sciml.audit(lost).select("fraction, between frames", 0)
    assert row.rms > 10 * row.floor
    over = dam.copy(deep=True)
    over["alpha"][3] += 0.05
    (bounds,) = sciml.audit(over).select("alpha within 0 to 1")
    assert bounds.largest > 0.05 and bounds.relative == pytest.approx(0.05, rel=0.01)


def test_the_momentum_that_the_barrier_takes_is_its_force(dam):
    """Over a second the barrier takes most of what comes in; with a force half as large again the balance is off by
    that half."""
    (right,) = sciml.audit(dam).select("momentum x, between frames", 0)
    wrong = dam.assign(force_x=dam.force_x * 1.5)
    (row,) = sciml.audit(wrong).select("momentum x, between frames", 0)
    force = float(np.sqrt((dam.force_x[3:] ** 2).mean())) / 0.6
    assert force > 10 and right.rms < 0.25 * force
    assert row.rms > 0.3 * force and row.rms > 1.3 * right.rms


def test_the_force_of_water_at_rest_is_its_weight():
    """A block of 3 × 4 cells on the bed, water 0.9 m deep at its left and over it, air at its right: the pressure of
    each is exact."""
    ny, nx, h, weight = 10, 12, 0.1, 9810.0
    solid = np.zeros((ny, nx), bool)
    solid[:4, 5:8] = True
    open_x, open_y = np.ones((ny, nx + 1)), np.ones((ny + 1, nx))
    open_x[:, 1:-1] = ~solid[:, 1:] & ~solid[:, :-1]
    open_y[1:-1] = ~solid[1:] & ~solid[:-1]
    open_x[:4, 5:9] = open_y[:5, 5:8] = 0
    alpha = np.zeros((ny, nx))
    alpha[:9, :8] = 1
    y = (np.arange(ny) + 0.5) * h
    p = weight * alpha * np.maximum(0.9 - y, 0)[:, None]
    still = jnp.zeros((1, ny, nx))
    found = _two_phase_force.force(
        jnp.asarray(open_x), jnp.asarray(open_y), jnp.asarray(p)[None], jnp.asarray(alpha)[None], still, still,
        (jnp.asarray(1e-3), jnp.asarray(1e-5)), jnp.asarray(weight), (jnp.asarray(h), jnp.asarray(h)),
    )  # fmt: skip
    side = weight * (0.9 * 0.4 - 0.4**2 / 2)
    np.testing.assert_allclose(np.asarray(found)[0], [side, -weight * 0.5 * 0.3], rtol=1e-5)
