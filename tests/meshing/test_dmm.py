"""The data-free mover: its potential network, its loss, and the mover itself."""

import itertools

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.operators.layers.potential_map import PotentialMap
from sciml.operators.layers.transport import interpolate, transport_loss


def network(dimensions: int = 2, seed: int = 0, channels: int = 1, **settings) -> PotentialMap:
    torch.manual_seed(seed)
    return PotentialMap(channels, dimensions, **{"width": 8, "modes": 6, "layers": 2} | settings).double()


def cloud(dimensions: int, count: int, seed: int = 0, channels: int = 1) -> tuple[torch.Tensor, ...]:
    """Points, a field and weights whose sum is 1, as a batch of two."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(2, count, dimensions, generator=rng, dtype=torch.float64)
    w = torch.rand(2, count, generator=rng, dtype=torch.float64)
    f = torch.randn(2, count, channels, generator=rng, dtype=torch.float64)
    return x, f, w / w.sum(1, keepdim=True)


def lattice(n: int, dimensions: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """(n + 1)^D points of the unit box and weights of the trapezoidal rule, as a batch of one."""
    x, w = torch.linspace(0, 1, n + 1, dtype=torch.float64), torch.full((n + 1,), 1 / n, dtype=torch.float64)
    w[[0, -1]] /= 2
    points = torch.stack(torch.meshgrid(*[x] * dimensions, indexing="ij"), -1).reshape(1, -1, dimensions)
    weights = torch.stack(torch.meshgrid(*[w] * dimensions, indexing="ij"), -1).prod(-1).reshape(1, -1)
    return points, weights


def bump(x: torch.Tensor, centre=(0.3, 0.7), width: float = 0.15) -> torch.Tensor:
    return 1 + 5 * torch.exp(-((x - torch.tensor(centre, dtype=x.dtype)) ** 2).sum(-1) / width**2)


def test_without_a_source_nothing_moves():
    net = network()
    torch.nn.init.zeros_(net.source.weight)
    x, f, w = cloud(2, 30)
    torch.testing.assert_close(net(x, f, w), x, rtol=0, atol=0)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_derivatives_are_those_of_the_potential(dimensions):
    net = network(dimensions)
    x, f, w = cloud(dimensions, 12)
    potential = net.potential(x, f, w).detach()
    at = torch.rand(2, 5, dimensions, dtype=torch.float64).requires_grad_()
    zero = net.derivative(potential, at, [0] * dimensions)
    slope = torch.autograd.grad(zero.sum(), at, create_graph=True)[0]
    torch.testing.assert_close(net.gradient(potential, at), slope)
    bend = torch.stack([torch.autograd.grad(slope[..., d].sum(), at, retain_graph=True)[0]
                        for d in range(dimensions)], -2)  # fmt: skip
    torch.testing.assert_close(net.hessian(potential, at), bend)
    torch.testing.assert_close(net(x, f, w, at), at + slope)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_sides_of_the_box_stay_on_it_with_any_weights(dimensions):
    net = network(dimensions, seed=3)
    torch.nn.init.normal_(net.source.weight, std=10)
    x, f, w = cloud(dimensions, 12)
    for d, side in itertools.product(range(dimensions), (0.0, 1.0)):
        at = torch.rand(2, 7, dimensions, dtype=torch.float64)
        at[..., d] = side
        moved = net(x, f, w, at)
        assert (moved[..., d] - side).abs().max() < 1e-13
        if dimensions > 1:
            assert (moved - at).abs().max() > 1e-3  # they slide
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=dimensions)), dtype=torch.float64)
    corners = corners.expand(2, -1, -1)
    torch.testing.assert_close(net(x, f, w, corners), corners, rtol=0, atol=1e-13)


def test_the_divergence_of_the_step_is_the_source():
    """∇²φ = s, whose mean over the box is taken away."""
    net = network()
    x, f, w = cloud(2, 40)
    potential, (at, weights) = net.potential(x, f, w), lattice(40)
    trace = net.hessian(potential, at.expand(2, -1, -1)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (trace * weights).sum(1).abs().max() < 1e-12
    assert trace.abs().max() > 1e-3


def test_numbering_and_padding_change_nothing():
    net = network(channels=2)
    x, f, w = cloud(2, 25, channels=2)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    at = torch.rand(2, 9, 2, dtype=torch.float64)
    expected = net(x, f, w, at)
    torch.testing.assert_close(net(x[:, order], f[:, order], w[:, order], at), expected)
    torch.testing.assert_close(net(x[:, order], f[:, order], w[:, order]), net(x, f, w)[:, order])
    more = (
        torch.cat([x, torch.rand(2, 4, 2)], 1),
        torch.cat([f, torch.ones(2, 4, 2)], 1),
        torch.cat([w, 0 * w[:, :4]], 1),
    )
    torch.testing.assert_close(net(*more, at), expected)
    torch.testing.assert_close(net(x, f, None, at), net(x, f, torch.full_like(w, 1 / 25), at))


def test_what_is_made_of_a_field_converges_as_its_points_get_denser():
    net, at = network(), torch.rand(1, 50, 2, dtype=torch.float64)
    found = []
    for n in (12, 24, 48, 96):
        x, w = lattice(n)
        found.append(net(x, torch.log(bump(x))[..., None], w, at).detach())
    off = [(a - found[-1]).abs().max() for a in found[:-1]]
    assert off[1] < 3e-3 * (found[-1] - at).abs().max()
    assert off[0] > 3.5 * off[1], off
    torch.manual_seed(0)  # points anywhere: as Monte Carlo does
    x = torch.rand(1, 40000, 2, dtype=torch.float64)
    scattered = net(x, torch.log(bump(x))[..., None], None, at)
    assert (scattered - found[-1]).abs().max() < 0.1 * (found[-1] - at).abs().max()


def test_swapped_and_mirrored_axes_swap_and_mirror_the_map():
    net = network(seed=5, layers=3)
    x, f, w = cloud(2, 30)
    expected = net(x, f, w)
    torch.testing.assert_close(net(x.flip(-1), f, w).flip(-1), expected)
    mirror = torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close((net((mirror - x).abs(), f, w) - mirror).abs(), expected)
    assert (net(x.flip(-1), f, w) - expected).abs().max() > 1e-3
    solid = network(3, seed=6)
    x, f, w = cloud(3, 30)
    torch.testing.assert_close(solid(x[..., [2, 0, 1]], f, w)[..., [1, 2, 0]], solid(x, f, w))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_interpolation_is_exact_for_multilinear_functions(dimensions):
    sides = (5, 4, 7)[:dimensions]
    axes = [torch.linspace(0, 1, n, dtype=torch.float64) for n in sides]
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def function(x):
        return 1 + (torch.arange(1, dimensions + 1) * x).sum(-1) + 3 * x.prod(-1)

    at = torch.rand(1, 50, dimensions, dtype=torch.float64, requires_grad=True)
    found = interpolate(function(nodes)[None], at)
    torch.testing.assert_close(found, function(at))
    one, other = (torch.autograd.grad(value.sum(), at)[0] for value in (found, function(at)))
    torch.testing.assert_close(one, other)
    out = interpolate(function(nodes)[None], 3 * torch.ones(1, 1, dimensions, dtype=torch.float64))
    torch.testing.assert_close(out, function(torch.ones(1, 1, dimensions, dtype=torch.float64)))


def test_the_loss_vanishes_where_the_density_is_met_and_sees_folds():
    """x = ξ + a sin(2πξ)/(2π): m = 1/x'(ξ) at x; φ = −a cos(2πξ)/(2π)², its only coefficient that of k = 2."""
    net, a = network(1), 0.5
    potential = torch.zeros(1, 6, dtype=torch.float64)
    potential[0, 2] = -a / (2 * np.pi) ** 2
    xi = np.linspace(0, 1, 20001)
    x, density = xi + a * np.sin(2 * np.pi * xi) / (2 * np.pi), 1 / (1 + a * np.cos(2 * np.pi * xi))
    monitor = torch.tensor(np.interp(np.linspace(0, 1, 5001), x, density))[None]
    at = torch.rand(1, 200, 1, dtype=torch.float64)
    mean = torch.ones(1, dtype=torch.float64)
    assert transport_loss(net, potential, monitor, mean, at) < 1e-8
    assert transport_loss(net, 0.9 * potential, monitor, mean, at) > 1e-4
    # both eigenvalues negative: the determinant is positive, the map turns over all the same
    plane, both = network(2), torch.zeros(1, 6, 6, dtype=torch.float64)
    both[0, 1, 0] = both[0, 0, 1] = 2.5 / np.pi**2
    corner = torch.full((1, 1, 2), 0.01, dtype=torch.float64)
    assert torch.linalg.det(torch.eye(2) + plane.hessian(both, corner)) > 0
    even = torch.ones(1, 3, 3, dtype=torch.float64)
    free, bound = (transport_loss(plane, both, even, mean, corner, convexity=c) for c in (0.0, 10.0))
    assert bound > free + 10


def test_every_weight_learns_and_the_map_survives_export_of_its_state():
    net = network(channels=2)
    x, f, w = cloud(2, 40, channels=2)
    monitor = 1 + torch.rand(2, 9, 9, dtype=torch.float64)
    loss = transport_loss(net, net.potential(x, f, w), monitor, monitor.mean((1, 2)), torch.rand(2, 50, 2).double())
    loss.backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    single = network(channels=2).float()
    assert single(x.float(), f.float(), w.float()).dtype == torch.float32
    torch.testing.assert_close(single(x.float(), f.float(), w.float()).double(), net(x, f, w), rtol=0, atol=1e-5)


def test_settings_of_the_network_that_cannot_be_are_said():
    for make, words in (
        (lambda: PotentialMap(0), "in_channels"),
        (lambda: PotentialMap(1, 4), "dimensions: expected 1 to 3, got 4"),
        (lambda: PotentialMap(1, modes=2.5), "modes"),
        (lambda: PotentialMap(1, width=-1), "width"),
    ):
        with pytest.raises(InputError, match=words):
            make()
