"""Energy, enstrophy, dissipation and spectra of periodic velocities against fields whose figures are known."""

import math

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.metrics import divergence, energetics, energy_spectrum


def places(n, d, length=1.0):
    line = (np.arange(n) + 0.5) / n * length
    return np.meshgrid(*[line] * d, indexing="ij")[::-1]  # x, y, (z)


def test_waves_whose_figures_are_known():
    """u = a sin(k·x) with a ⟂ k: ½⟨u²⟩ = a²/4, enstrophy k²a²/4, palinstrophy k⁴a²/4, ε = ν k²a²/2."""
    length = 2.0
    x, y, z = places(16, 3, length)
    a, m = np.array([1.0, 2.0, -1.0]), np.array([1.0, 1.0, 3.0])
    k = 2 * np.pi / length * m
    wave = np.sin(k[0] * x + k[1] * y + k[2] * z)
    found = energetics(np.stack([c * wave for c in a]), [length] * 3)
    k2, a2 = (k**2).sum(), (a**2).sum()
    assert float(found.energy) == pytest.approx(a2 / 4, rel=1e-13)
    assert float(found.enstrophy) == pytest.approx(k2 * a2 / 4, rel=1e-13)
    assert float(found.palinstrophy) == pytest.approx(k2**2 * a2 / 4, rel=1e-13)
    assert float(found.dissipation(0.3)) == pytest.approx(0.3 * k2 * a2 / 2, rel=1e-13)
    shell = round(math.sqrt((m**2).sum()))
    assert float(found.spectrum[shell]) == pytest.approx(a2 / 4, rel=1e-13)
    assert float(found.wavenumber[shell]) == pytest.approx(2 * np.pi / length * shell)
    # along k: no rotation, and 2 S_ij S_ij = 2 k²a²/2
    along = energetics(np.stack([c * wave for c in m]), [length] * 3)
    assert float(along.enstrophy) == pytest.approx(0.0, abs=1e-12)
    assert float(along.strain) == pytest.approx(k2 * (m**2).sum() / 2, rel=1e-13)


@pytest.mark.parametrize(("shape", "lengths"), [((12, 10), (3.0, 2.0)), ((6, 9, 8), (1.0, 2.0, 1.5))])
def test_spectra_are_those_of_energy_spectrum(shape, lengths):
    u = np.random.default_rng(0).standard_normal((2, len(shape), *shape))
    found = energetics(u, lengths)
    k, energy = energy_spectrum(u, lengths, periodic=True)
    count = found.spectrum.shape[-1]
    np.testing.assert_allclose(found.wavenumber, k[:count], rtol=1e-13)
    np.testing.assert_allclose(found.spectrum, energy[:, :count], rtol=1e-12)
    np.testing.assert_allclose(found.energy, 0.5 * (u**2).sum(1).mean(tuple(range(1, 1 + len(shape)))), rtol=1e-12)
    np.testing.assert_allclose(found.spectrum.sum(-1), found.energy, rtol=1e-12)


def test_differences_of_a_smooth_field_come_to_the_same():
    """Enstrophy and strain from fourth-order differences of a band-limited field converge to the exact ones."""
    gaps = []
    for n in (16, 32):
        x, y = places(n, 2, 2 * np.pi)
        u = np.stack([np.sin(x + 2 * y) + np.cos(y), np.cos(2 * x - y) + 0.3 * np.sin(x)])
        h = 2 * np.pi / n

        def slope(f, axis, h=h):
            one = np.roll(f, -1, axis) - np.roll(f, 1, axis)
            return (8 * one - (np.roll(f, -2, axis) - np.roll(f, 2, axis))) / (12 * h)

        ux, uy, vx, vy = slope(u[0], 1), slope(u[0], 0), slope(u[1], 1), slope(u[1], 0)
        found = energetics(u, [2 * np.pi] * 2)
        gaps.append(
            [
                abs(0.5 * ((vx - uy) ** 2).mean() / float(found.enstrophy) - 1),
                abs((ux**2 + vy**2 + 0.5 * (uy + vx) ** 2).mean() / float(found.strain) - 1),
            ]
        )
    assert (np.log2(np.array(gaps[0]) / gaps[1]) > 3.5).all()
    assert (
        np.abs(divergence(list(u), [np.arange(n) * h] * 2, periodic=True)).max() > 0.1
    )  # strain and rotation differ here


def test_wrong_shapes_are_named():
    with pytest.raises(InputError, match=r"velocity: expected \(..., 3, \*space\)"):
        energetics(np.zeros((2, 4, 4, 4)), [1.0] * 3)
    with pytest.raises(InputError, match="extents: expected lengths > 0"):
        energetics(np.zeros((2, 4, 4)), [1.0, 0.0])
