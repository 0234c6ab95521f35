"""The operator on trajectories: any times, any grid, a linear last layer."""

import json

import numpy as np
import pytest
import torch

from sciml import registry
from sciml.contracts import Signature, build
from sciml.errors import InputError
from sciml.operators import SpaceTimeFNO
from sciml.operators.spacetime_fno import _resample, _splines

SMALL = {"width": 4, "modes": 3, "time_modes": 2, "layers": 2, "steps": 5, "points": 8, "waves": 2}
AROUND = (True, True)


def operator(seed=0, frames=6, periodic=AROUND, **options):
    torch.manual_seed(seed)
    signature = Signature(4, 2 * frames, 2, n_params=1, periodic=periodic, frames_out=frames)
    return build(SpaceTimeFNO, signature, SMALL | options).double()


def band_limited(n, highest=3, channels=4, seed=0):
    """The same waves at j/n, (2, channel, n, n)."""
    rng = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(n) / n
    total = np.zeros((2, channels, n, n))
    for ky in range(-highest, highest + 1):
        for kx in range(highest + 1):
            a, b = rng.standard_normal((2, 2, channels, 1, 1))
            angle = ky * x[:, None] + kx * x
            total += a * np.cos(angle) + b * np.sin(angle)
    return torch.from_numpy(total)


@pytest.mark.parametrize("steps", [4, 5, 10])
def test_splines_meet_values_and_cubic_polynomials(steps):
    at = torch.linspace(0, 1, steps, dtype=torch.float64)
    torch.testing.assert_close(_splines(steps, at), torch.eye(steps, dtype=torch.float64), rtol=0, atol=1e-13)
    t = torch.rand(50, dtype=torch.float64)
    for power in range(4):
        torch.testing.assert_close(_splines(steps, t) @ at**power, t**power, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n", "m"), [(8, 12), (12, 8), (9, 16), (16, 9)])
def test_waves_are_brought_onto_other_points_exactly(n, m):
    here, there = (band_limited(k).movedim(1, -1) for k in (n, m))
    torch.testing.assert_close(_resample(here, (m, m), AROUND, "left"), there, rtol=0, atol=1e-12)


def test_any_times_and_any_number_of_them():
    op = operator()
    x, params = torch.randn(2, 4, 12, 12).double(), torch.randn(2, 1).double()
    y = op(x, params)
    assert y.shape == (2, 12, 12, 12)
    tau = torch.arange(1, 7).double() / 6
    torch.testing.assert_close(op(x, params, times=tau), y, rtol=0, atol=1e-13)
    for count in (1, 4, 24):  # the last of all is the end of the window
        found = op(x, params, times=torch.arange(1, count + 1).double() / count)
        assert found.shape == (2, 2 * count, 12, 12)
        torch.testing.assert_close(found[:, -2:], y[:, -2:], rtol=0, atol=1e-13)
    late = op(x, params, times=torch.tensor([0.5, 0.25]).double())
    torch.testing.assert_close(late[:, :2], y[:, 4:6], rtol=0, atol=1e-13)


def test_any_grid_gives_the_same_waves():
    op = operator(sampling="left")
    params = torch.randn(2, 1).double()
    coarse, fine = (op(band_limited(n), params) for n in (8, 24))
    torch.testing.assert_close(fine[..., ::3, ::3], coarse, rtol=0, atol=1e-11)
    modes = torch.fft.fft2(fine).abs()
    assert (modes[..., 5:-4, :].max() < 1e-9 * modes.max()).item()


def test_the_last_layer_is_linear():
    op = operator()
    x, params = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 1).double()
    w = op.hidden(x, params)
    both = op.last(w) + op.last_pointwise(w)
    torch.testing.assert_close(op.last(2 * w) + op.last_pointwise(2 * w) - both, both - op.last_pointwise.bias)
    before = op(x, params)
    with torch.no_grad():
        for layer in (op.last, op.last_pointwise):
            for p in layer.parameters():
                p.mul_(2)
    torch.testing.assert_close(op(x, params), 2 * before)


def test_axes_without_a_period_keep_their_points():
    op = operator(periodic=(False, True), padding=0.25)
    assert op(torch.randn(1, 4, 10, 16).double(), torch.randn(1, 1).double()).shape == (1, 12, 10, 16)
    assert op.layers[0].spectral.period == (2.0, 1.25, 1.0)


def test_a_mask_hides_what_is_outside():
    torch.manual_seed(0)
    op = build(SpaceTimeFNO, Signature(2, 4, 2, masked=True, frames_out=2), SMALL)
    x, mask = torch.randn(1, 2, 9, 8), torch.ones(1, 1, 9, 8)
    mask[..., 3:5, 2:4] = 0
    other = torch.where(mask > 0, x, torch.nan)
    y = op(x, mask=mask)
    assert torch.equal(op(other, mask=mask), y) and (y[..., 3:5, 2:4] == 0).all()


def test_gradients_and_storage():
    op = operator()
    x, params = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 1).double()
    y = op(x, params)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in op.parameters())
    again = registry.operators.get("spacetime_fno")(**json.loads(json.dumps(op.config()))).double()
    again.load_state_dict(op.state_dict())
    assert torch.equal(again(x, params), y)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(op, (x, params), dynamic_shapes={"x": {0: batch}, "params": {0: batch}})
    three = torch.randn(3, 4, 8, 8).double(), torch.randn(3, 1).double()
    torch.testing.assert_close(program.module()(*three), op(*three), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "steps: expected a whole number ≥ 4, got 3"),
        ({"points": 4}, r"points: expected at least twice the modes \(3, 3\), got \(4, 4\)"),
        ({"modes": (2, 2, 2)}, "modes: expected 2 numbers"),
        ({"padding": -1}, "padding: expected a number ≥ 0, got -1"),
        ({"growth": "a"}, "growth: expected a number, got 'a'"),
        ({"widht": 3}, "spacetime_fno: widht: no option is called so; did you mean 'width'"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(InputError, match=message):
        operator(**options)


def test_channels_of_other_frames_are_named():
    with pytest.raises(InputError, match="frames_out: 5 channels are not those of 2 frames"):
        SpaceTimeFNO(2, 5, frames_out=2)
