"""The spectral convolution: identities that pin its mathematics, on both paths."""

import itertools
import math

import pytest
import torch

from sciml.errors import InputError
from sciml.operators import SpectralConv
from sciml.operators._transform import Axis, analyse, analyse_fft, fft_cost, prefers_fft, product_cost

PATHS = ("matmul", "fft")


def set_identity(conv: SpectralConv) -> None:
    """R(k) = 1 for every mode: [Re R | Im R] = [1 | 0]."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[..., :, : conv.out_channels] = torch.eye(conv.in_channels)


def positions(points: int, sampling: str) -> torch.Tensor:
    j = torch.arange(points, dtype=torch.float64)
    return {"left": j / points, "centre": (j + 0.5) / points}[sampling]


def band_limited(shape: tuple[int, ...], highest: int, sampling: str) -> torch.Tensor:
    """A fixed real field of wavenumbers |k_i| ≤ highest, sampled on any grid, (1, *shape, 1)."""
    generator = torch.Generator().manual_seed(7)
    lines = torch.meshgrid(*(positions(n, sampling) for n in shape), indexing="ij")
    field = torch.zeros(shape, dtype=torch.float64)
    for k in itertools.product(range(-highest, highest + 1), repeat=len(shape)):
        amplitude, phase = torch.rand(2, generator=generator, dtype=torch.float64)
        angle = sum(q * s for q, s in zip(k, lines, strict=True))
        field = field + (amplitude - 0.5) * torch.cos(2 * math.pi * (angle + phase))
    return field[None, ..., None]


GRIDS = [
    ((16,), (16,)), ((16,), (32,)), ((32,), (16,)), ((15,), (17,)), ((17,), (12,)),
    ((16, 16), (16, 16)), ((16, 16), (32, 32)), ((32, 32), (16, 16)), ((15, 12), (21, 13)), ((21, 16), (11, 13)),
    ((8, 8, 8), (8, 8, 8)), ((8, 8, 8), (16, 12, 9)), ((16, 12, 9), (8, 8, 7)),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sampling", ["left", "centre"])
@pytest.mark.parametrize(("grid", "out"), GRIDS)
def test_identity_weights_reproduce_a_band_limited_field_on_any_grid(grid, out, sampling, path):
    highest = 5 if len(grid) < 3 else 2
    conv = SpectralConv(1, 1, [highest] * len(grid), spectral=path, sampling=sampling)
    set_identity(conv)
    y = conv(band_limited(grid, highest, sampling).float(), out)
    expected = band_limited(out, highest, sampling)
    assert (y - expected).norm() <= 1e-6 * expected.norm()
    y = conv.double()(band_limited(grid, highest, sampling), out)
    assert (y - expected).norm() <= 1e-13 * expected.norm()


@pytest.mark.parametrize("path", PATHS)
def test_nyquist_mode_is_split_between_both_signs(path):
    """On N points cos(πj) is the interpolant cos(2π N/2 s): on 2N points it is that cosine, not a complex wave."""
    conv = SpectralConv(1, 1, (4, 4), spectral=path, sampling="left").double()
    set_identity(conv)
    s = positions(8, "left")
    x = (torch.cos(8 * math.pi * s)[:, None] + torch.cos(8 * math.pi * s)[None])[None, ..., None]
    assert torch.allclose(conv(x), x, atol=1e-13)
    t = positions(16, "left")
    expected = torch.cos(8 * math.pi * t)[:, None] + torch.cos(8 * math.pi * t)[None]
    assert torch.allclose(conv(x, (16, 16))[0, ..., 0], expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(13,), (12, 9), (6, 5, 8)])
@pytest.mark.parametrize("period", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("sampling", ["left", "centre", "ends"])
def test_products_and_fft_agree(shape, period, sampling):
    d = len(shape)
    modes = (5, 4, 2)[:d]
    try:
        fft = SpectralConv(3, 4, modes, spectral="fft", period=period, sampling=sampling).double()
        x = torch.randn(2, *shape, 3, dtype=torch.float64)
        there = fft(x)
    except InputError as error:  # the period is no whole number of samples on this grid
        counts = [Axis(n, 1, period, sampling).samples_a_period for n in shape]
        assert any(c < n or abs(c - round(c)) > 1e-6 for c, n in zip(counts, shape, strict=True))
        assert "whole number of samples" in str(error)
        return
    here = SpectralConv(3, 4, modes, spectral="matmul", period=period, sampling=sampling).double()
    here.load_state_dict(fft.state_dict())
    assert torch.allclose(here(x), there, atol=1e-12)
    assert (here.float()(x.float()) - fft.float()(x.float())).norm() <= 2e-6 * there.norm()


@pytest.mark.parametrize("path", PATHS)
def test_one_layer_fits_a_circular_convolution_exactly(path):
    """The kernel's transform, written into the weights, gives the convolution; so does a fit by least squares."""
    torch.manual_seed(0)
    n = 16
    kernel = torch.randn(n, n, dtype=torch.float64)
    x = torch.randn(64, n, n, 1, dtype=torch.float64)
    y = torch.fft.irfft2(torch.fft.rfft2(x[..., 0]) * torch.fft.rfft2(kernel), s=(n, n))
    conv = SpectralConv(1, 1, (n // 2, n // 2), spectral=path, sampling="left").double()
    optimiser = torch.optim.LBFGS(conv.parameters(), lr=1, max_iter=300, tolerance_grad=1e-14, tolerance_change=0)

    def loss():
        optimiser.zero_grad()
        value = (conv(x)[..., 0] - y).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    fresh = torch.randn(4, n, n, 1, dtype=torch.float64)
    expected = torch.fft.irfft2(torch.fft.rfft2(fresh[..., 0]) * torch.fft.rfft2(kernel), s=(n, n))
    assert (conv(fresh)[..., 0] - expected).norm() <= 1e-6 * expected.norm()


def test_modes_beyond_the_grid_stay_idle():
    """On a grid of 8 points the wavenumbers up to 4 act, and those are the weights of a smaller convolution."""
    torch.manual_seed(0)
    large, small = SpectralConv(2, 2, (9, 7)), SpectralConv(2, 2, (4, 3))
    index = torch.cat((torch.arange(4), torch.arange(8, 11)))  # 0 … 3, -1 … -3 out of 0 … 7, -1 … -7
    small.weight.data = large.weight.data[:5, index].clone()
    x = torch.randn(1, 8, 7, 2)
    assert torch.equal(large(x), small(x))


def test_window_is_the_transform_of_the_field_continued_by_zero():
    x = torch.randn(1, 10, 12, 3, dtype=torch.float64)
    axes = [Axis(10, 4, 1.5, "left"), Axis(12, 4, 2.0, "left")]
    padded = torch.nn.functional.pad(x, (0, 0, 0, 12, 0, 5))
    whole = [Axis(15, 4, 1.0, "left"), Axis(24, 4, 1.0, "left")]
    assert torch.allclose(analyse(x, axes), analyse(padded, whole), atol=1e-14)
    assert torch.allclose(analyse_fft(x, axes), analyse(padded, whole), atol=1e-14)


@pytest.mark.parametrize("path", PATHS)
def test_gradients(path):
    conv = SpectralConv(2, 2, (2, 3), spectral=path).double()
    x = torch.randn(1, 5, 6, 2, dtype=torch.float64, requires_grad=True)

    def call(x, weight):
        return torch.func.functional_call(conv, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(call, (x, conv.weight))


def test_cost_model_gives_few_modes_to_products_and_many_to_the_fft():
    def axes(points, modes):
        return [Axis(points, modes, 1.0, "centre")] * 2

    assert not prefers_fft(axes(64, 12))
    assert not prefers_fft(axes(128, 16))
    assert prefers_fft(axes(256, 120))
    assert not prefers_fft([Axis(1024, 16, 1.0, "centre")])
    assert prefers_fft([Axis(1024, 256, 1.0, "centre")])
    assert product_cost(axes(64, 24)) > product_cost(axes(64, 12))
    assert fft_cost(axes(128, 12)) > 4 * fft_cost(axes(64, 12))
    assert not prefers_fft([Axis(63, 30, 1.25, "centre")] * 2)  # 78.75 samples a period: no FFT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spectral": "ffft"}, "did you mean 'fft'"),
        ({"sampling": "center"}, "did you mean 'centre'"),
        ({"period": 0.5}, "period: expected 2 numbers ≥ 1"),
        ({"period": (1.0, 1.0, 1.0)}, "period: expected 2 numbers"),
        ({"modes": (3, -1)}, "modes: expected"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        SpectralConv(**({"in_channels": 1, "out_channels": 1, "modes": (3, 3)} | arguments))
