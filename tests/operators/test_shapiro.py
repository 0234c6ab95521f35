"""The filter that takes the pattern of patches out: what it removes, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch

from sciml.operators import FNO, UNet
from sciml.operators._shapiro import shapiro


def wave(n, m):
    return torch.cos(2 * math.pi * m * torch.arange(n, dtype=torch.float64) / n)


@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("m", [0, 3, 8, 16])
def test_gain_of_a_wave(order, m):
    x = wave(32, m)[None, None]
    gain = 1 - math.sin(math.pi * m / 32) ** (2 * order)
    torch.testing.assert_close(shapiro(x, order, (True,)), gain * x, rtol=0, atol=1e-14)


def test_the_pattern_of_patches_goes_and_polynomials_stay():
    i = torch.arange(20, dtype=torch.float64)
    pattern = ((-1.0) ** i)[:, None] * (1 + (-1.0) ** i)[None, :]
    smooth = ((i / 20) ** 7)[:, None] * ((i / 20) ** 2)[None, :]
    found = shapiro((smooth + pattern)[None, None], 4, (False, False))[0, 0]
    torch.testing.assert_close(found[4:-4, 4:-4], smooth[4:-4, 4:-4], rtol=0, atol=1e-13)
    # up to the walls, on which nothing of the other side shows
    ramp = (3 * i - 7)[:, None] + (0.5 * i)[None, :]
    torch.testing.assert_close(shapiro(ramp[None, None], 4, (False, False))[0, 0], ramp, rtol=0, atol=1e-12)


def test_short_axes_and_one_point():
    x = torch.randn(2, 3, 1, 3, dtype=torch.float64)
    found = shapiro(x, 4, (False, False))
    assert found.shape == x.shape and torch.isfinite(found).all()
    torch.testing.assert_close(found[..., [0, 2]], x[..., [0, 2]])


def test_what_is_outside_never_matters():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 24, 24, generator=rng, dtype=torch.float64)
    mask = torch.ones(1, 1, 24, 24, dtype=torch.float64)
    mask[..., 8:14, 10:15] = 0
    other = torch.where(mask > 0, x, 100.0 * torch.ones_like(x))
    a, b = shapiro(x, 4, (False, True), mask), shapiro(other, 4, (False, True), mask)
    torch.testing.assert_close(a * mask, b * mask)
    assert not torch.equal((a * mask)[..., 0:4, :], (x * mask)[..., 0:4, :])


@pytest.mark.parametrize("kind", ["fno", "unet"])
def test_operators_with_patches_leave_no_pattern(kind):
    torch.manual_seed(0)
    make = {
        "fno": lambda **o: FNO(1, 1, width=8, modes=(4, 4), layers=1, **o),
        "unet": lambda **o: UNet(1, 1, width=8, multipliers=(1, 2), boundary="circular", **o),
    }[kind]
    rough, smooth = make(patch=2, smooth=0), make(patch=2)
    assert smooth.smooth == smooth.config()["smooth"] == 4 and make().smooth == make(patch=4).smooth == 0
    smooth.load_state_dict(rough.state_dict())
    x = torch.randn(2, 1, 32, 32)

    def shortest(y):
        """The share of waves that change their sign from point to point."""
        spectrum = np.abs(np.fft.fft2(y.detach().numpy()))
        return max(spectrum[..., 16, :].max(), spectrum[..., :, 16].max()) / spectrum.max()

    assert torch.equal(rough(x), smooth(x))  # in training nothing is hidden from the loss
    rough.eval(), smooth.eval()
    # no walls for the U-Net here; at those of the other the filter is weaker
    assert shortest(rough(x)) > 0.5 and shortest(smooth(x)) < {"fno": 0.1, "unet": 1e-6}[kind]
    again = type(smooth)(**smooth.config())
    again.eval().load_state_dict(smooth.state_dict())
    assert torch.equal(again(x), smooth(x))
