"""Sobolev norms: waves have the norms that they must have, at any resolution and along any axis."""

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.metrics import sobolev_norm


@pytest.mark.parametrize("order", [-1, 0, 1])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n", [8, 17])
def test_a_wave_has_its_norm(order, k, n):
    x = (np.arange(n) + 0.5) / n
    wave = np.sin(2 * np.pi * k * x)
    expected = np.sqrt(0.5) * (2 * np.pi * k) ** order
    assert sobolev_norm(wave, (1.0,), order) == pytest.approx(expected, rel=1e-12)
    plane = np.stack([np.tile(wave, (6, 1)), 2 * np.tile(wave, (6, 1)) + 5.0])
    assert sobolev_norm(plane, (3.0, 1.0), order) == pytest.approx(expected * np.array([1, 2]), rel=1e-12)
    assert sobolev_norm(np.tile(wave[:, None], (1, 6)), (1.0, 3.0), order) == pytest.approx(expected, rel=1e-12)


def test_vorticity_in_the_dual_norm_is_velocity():
    """‖∇ × u‖₋₁ = ‖u‖₀ where ∇·u = 0; u = (∂ψ/∂y, −∂ψ/∂x)."""
    n, rng = 16, np.random.default_rng(0)
    k = 2 * np.pi * np.fft.fftfreq(n, 1 / n) / 2.0
    ky, kx = k[:, None], k
    psi = np.fft.fft2(rng.standard_normal((n, n))) * (np.abs(ky) < 20) * (np.abs(kx) < 20)
    u, v, w = (np.fft.ifft2(m * psi).real for m in (1j * ky, -1j * kx, kx**2 + ky**2))
    size = np.hypot(*(sobolev_norm(f, (2.0, 2.0), 0) for f in (u, v)))
    assert sobolev_norm(w, (2.0, 2.0), -1) == pytest.approx(size, rel=1e-12)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="lengths: expected numbers > 0"):
        sobolev_norm(np.zeros(4), (0.0,), 1)
    with pytest.raises(InputError, match="order: expected a number, got 'a'"):
        sobolev_norm(np.zeros(4), (1.0,), "a")
    with pytest.raises(InputError, match=r"values: expected \(\.\.\., \*space\) with 2 axes"):
        sobolev_norm(np.zeros(4), (1.0, 1.0), 1)
