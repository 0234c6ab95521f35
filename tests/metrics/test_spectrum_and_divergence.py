"""Spectra against Parseval and known modes; divergence against exact fields and exact face balances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml import metrics
from sciml.errors import InputError


@given(
    st.integers(2, 9), st.integers(2, 9), st.booleans(), st.booleans(), st.floats(0.1, 10), st.integers(0, 2**31 - 1)
)
@settings(max_examples=50, deadline=None)
def test_parseval(ny, nx, py, px, length, seed):
    """All wavenumbers are counted: the shells add up to the kinetic energy."""
    u = np.random.default_rng(seed).normal(size=(3, 2, ny, nx))
    k, e = metrics.energy_spectrum(u, (1.0, length), periodic=(py, px))
    assert k.shape[0] == e.shape[-1] and e.shape[0] == 3
    assert e.sum(-1) == pytest.approx(0.5 * (u**2).sum(1).mean((1, 2)), rel=1e-10)


def test_one_mode_lands_in_its_shell():
    n = 16
    x = (np.arange(n) + 0.5) / n
    wave = np.sin(2 * np.pi * 3 * x)[None, None, :] * np.ones((1, n, 1))
    k, e = metrics.energy_spectrum(wave, (1.0, 1.0), periodic=True)
    assert k[3] == pytest.approx(6 * np.pi) and e[3] == pytest.approx(0.25) and e.sum() == pytest.approx(0.25)
    # negative wavenumbers of the first axis, which a quadrant would drop
    y = x[:, None]
    tilted = np.sin(2 * np.pi * (3 * x[None, :] - 4 * y))[None]
    _, e = metrics.energy_spectrum(tilted, (1.0, 1.0), periodic=True)
    assert e[5] == pytest.approx(0.25) and e.sum() == pytest.approx(0.25)
    wall = np.cos(np.pi * 5 * x)[None, None, :] * np.ones((1, n, 1))
    k, e = metrics.energy_spectrum(wall, (1.0, 1.0))
    assert k[5] == pytest.approx(5 * np.pi) and e[5] == pytest.approx(0.25)


def test_cosine_transform_has_no_false_tail():
    """A ramp between walls: a bare FFT leaves a k⁻² tail; the even extension falls as k⁻⁴."""
    n = 64
    ramp = ((np.arange(n) + 0.5) / n)[None, None, :] * np.ones((1, 4, 1))
    _, wall = metrics.energy_spectrum(ramp, (1.0, 1.0))
    _, seam = metrics.energy_spectrum(ramp, (1.0, 1.0), periodic=True)
    assert wall[31] < 1e-3 * seam[16]


def test_spectrum_error():
    rng = np.random.default_rng(1)
    u = rng.normal(size=(2, 12, 12))
    assert metrics.spectrum_error(u, u, (1, 1)) == 0
    assert metrics.spectrum_error(2 * u, u, (1, 1)) == pytest.approx(3.0)
    assert metrics.spectrum_error(5 * u, 10 * u, (1, 1), bands=3) == pytest.approx([0.75] * 3)
    assert metrics.spectrum_error(np.zeros_like(u), np.zeros_like(u), (1, 1)) == 0
    assert metrics.spectrum_error(u, np.zeros_like(u), (1, 1)) == math.inf
    # phase is not energy: a mirrored field has the same spectrum
    assert metrics.spectrum_error(u[..., ::-1], u, (1, 1)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="bands"):
        metrics.spectrum_error(u, u, (1, 1), bands=40)
    with pytest.raises(InputError, match="extents"):
        metrics.energy_spectrum(u, (1.0, -1.0))


def test_spectrum_mask_hides_the_solid():
    u = np.random.default_rng(2).normal(size=(2, 8, 8))
    mask = np.ones((8, 8))
    mask[3:5, 3:5] = 0
    dirty = u.copy()
    dirty[:, 3:5, 3:5] = np.nan
    assert metrics.energy_spectrum(dirty, (1, 1), mask=mask)[1] == pytest.approx(
        metrics.energy_spectrum(u * mask, (1, 1))[1]
    )


def solenoidal_faces(ny, nx, rng):
    """Face velocities from a stream function at the nodes: free of divergence to rounding."""
    psi = rng.normal(size=(ny + 1, nx + 1))
    x, y = np.linspace(0, 2, nx + 1), np.linspace(0, 1, ny + 1)
    return np.diff(psi, axis=0) / (y[1] - y[0]), -np.diff(psi, axis=1) / (x[1] - x[0]), x, y


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_face_divergence_vanishes_to_rounding(ny, nx, seed):
    u, v, x, y = solenoidal_faces(ny, nx, np.random.default_rng(seed))
    div = metrics.divergence_faces((u, v), (x, y))
    assert div.shape == (ny, nx) and np.abs(div).max() < 1e-10 * (1 + np.abs(u).max() * nx + np.abs(v).max() * ny)


def test_face_divergence_of_stretched_grids_and_three_dimensions():
    x, y, z = np.array([0.0, 0.1, 0.5, 1.0]), np.array([0.0, 0.3, 1.0]), np.array([0.0, 1.0, 1.5])
    u = np.broadcast_to(2 * x, (2, 2, 4))
    v = np.broadcast_to(3 * y[:, None], (2, 3, 3))
    w = np.broadcast_to(-1 * z[:, None, None], (3, 2, 3))
    assert metrics.divergence_faces((u, v, w), (x, y, z)) == pytest.approx(np.full((2, 2, 3), 4.0))
    with pytest.raises(InputError, match="4 faces"):
        metrics.divergence_faces((v[0], v[0]), (x, y))


def test_cell_divergence():
    n = 20
    x = (np.arange(n) + 0.5) / n
    X, Y = np.meshgrid(x, x)
    linear = metrics.divergence((2 * X + Y, 5 * Y - X), (x, x))
    assert linear == pytest.approx(np.full((n, n), 7.0))
    errors = []
    for n in (32, 64):
        x = (np.arange(n) + 0.5) / n
        X, Y = np.meshgrid(x, x)
        u = np.sin(2 * np.pi * X) * np.cos(2 * np.pi * Y)
        v = -np.cos(2 * np.pi * X) * np.sin(2 * np.pi * Y) + np.sin(2 * np.pi * Y)
        div = metrics.divergence((u, v), (x, x), periodic=True)
        errors.append(np.abs(div - 2 * np.pi * np.cos(2 * np.pi * Y)).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_cell_divergence_at_walls_and_bodies():
    """∫ ∇·u over a closed box is zero whatever the field, because nothing flows through its walls."""
    rng = np.random.default_rng(3)
    u, v = rng.normal(size=(2, 6, 8))
    x, y = np.arange(8) + 0.5, np.arange(6) + 0.5
    assert metrics.divergence((u, v), (x, y), wall=True).sum() == pytest.approx(0, abs=1e-12)
    assert metrics.divergence((u, v), (x, y), periodic=True).sum() == pytest.approx(0, abs=1e-12)
    mask = np.ones((6, 8))
    mask[2:4, 3:6] = 0
    u2, v2 = u.copy(), v.copy()
    u2[mask == 0] = v2[mask == 0] = np.nan
    div = metrics.divergence((u2, v2), (x, y), wall=True, mask=mask)
    assert div.sum() == pytest.approx(0, abs=1e-12) and (div[mask == 0] == 0).all()
    value = metrics.divergence_error((u, v), (x, y), wall=True, length=2.0, speed=4.0)
    assert value == pytest.approx(0.5 * np.sqrt((metrics.divergence((u, v), (x, y), wall=True) ** 2).mean()))
    with pytest.raises(InputError, match="uniform"):
        metrics.divergence((u, v), (x**2, y))


def test_cell_divergence_on_stretched_grids():
    """Linear fields exactly, closed boxes to rounding by cell areas, second order on a smoothly stretched grid."""
    x, y = np.array([0.0, 0.1, 0.4, 0.5, 1.0]), np.array([0.0, 0.2, 0.3, 1.0])
    X, Y = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
    area = np.diff(y)[:, None] * np.diff(x)
    assert metrics.divergence((2 * X + Y, 5 * Y - X), (x, y)) == pytest.approx(np.full((3, 4), 7.0))
    u, v = np.random.default_rng(0).normal(size=(2, 3, 4))
    for how in ({"wall": True}, {"periodic": True}):
        div = metrics.divergence((u, v), (x, y), **how)
        assert (area * div).sum() == pytest.approx(0, abs=1e-12)
        error = metrics.divergence_error((u, v), (x, y), weights=area, **how)
        assert error == pytest.approx(np.sqrt((area * div**2).sum()))
    errors = []
    for n in (32, 64):
        x = np.linspace(0, 1, n + 1) + 0.05 * np.sin(2 * np.pi * np.linspace(0, 1, n + 1))
        c = (x[1:] + x[:-1]) / 2
        u = np.sin(2 * np.pi * c) * np.ones((3, 1))
        div = metrics.divergence((u, 0 * u), (x, np.arange(4.0)), periodic=True)
        errors.append(np.abs(div - 2 * np.pi * np.cos(2 * np.pi * c)).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)
    with pytest.raises(InputError, match="faces that increase"):
        metrics.divergence((u, u), (x[::-1], np.arange(4.0)))
