"""Approximate distances, and boundary values that hold whatever the network says."""

import math

import numpy as np
import pytest
import torch

from sciml.constraints import Ansatz, Circle, Plane, Segment, joined, outline, shares
from sciml.errors import InputError
from sciml.geometry import Disc, Polygon

NOTCHED = ((0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 0.5), (0.0, 0.5))


def along(a, b, count=41):
    s = torch.linspace(0, 1, count)[:, None]
    return torch.tensor(a) * (1 - s) + torch.tensor(b) * s


def test_zero_on_the_boundary_alone():
    pieces = outline(NOTCHED)
    polygon = Polygon(NOTCHED)
    points = torch.from_numpy(np.random.default_rng(0).uniform((0, 0), (2, 1), (4000, 2)))
    phi = joined([p.distance(points) for p in pieces])
    true = torch.from_numpy(np.abs(polygon.signed_distance(points.numpy())))
    assert bool((phi > 0).all()) and float((phi / true).min()) > 0.3 and float((phi / true).max()) < 2.0
    for a, b in zip(NOTCHED, NOTCHED[1:] + NOTCHED[:1], strict=True):
        assert joined([p.distance(along(a, b)) for p in pieces]).abs().max() == 0  # corners too
    slant = Segment((0.1, 0.2), (0.7, 1.9))
    assert slant.distance(along(slant.start, slant.end)).max() < 1e-15
    # beyond its ends a segment is no line
    assert float(slant.distance(torch.tensor([0.0, 0.2 - 1.7 / 6]))) > 0.25


@pytest.mark.parametrize("order", [1, 2, 3])
def test_slope_is_one_on_the_boundary(order):
    pieces = [*outline(NOTCHED), Circle((1.5, 0.5), 0.2)]
    places = torch.tensor([[0.7, 0.0], [1.3, 0.0], [2.0, 0.4], [0.0, 0.3], [1.0, 0.8], [1.5, 0.7], [1.3, 0.5]])
    inwards = torch.tensor([[0.0, 1], [0, 1], [-1, 0], [1, 0], [1, 0], [0, 1], [-1, 0]])
    slopes = []
    for h in (1e-3, 5e-4):
        slopes.append(joined([p.distance(places + h * inwards) for p in pieces], order) / h - 1)
    assert float(slopes[1].abs().max()) < 0.02
    # what is left goes with h for order 1, and the curvature of the circle; normalised to order 2 with h² on planes
    rate = (slopes[0].abs() / slopes[1].abs().clamp(min=1e-300))[:5]
    assert float(rate[0]) > (1.9 if order == 1 else 3.5)


def test_second_derivative_vanishes_for_order_two():
    pieces = outline(NOTCHED)
    t = torch.tensor(1e-4, requires_grad=True)
    phi = joined([p.distance(torch.stack([torch.tensor(0.6), t])) for p in pieces], 2)
    (first,) = torch.autograd.grad(phi, t, create_graph=True)
    (second,) = torch.autograd.grad(first, t)
    assert abs(float(first) - 1) < 1e-6 and abs(float(second)) < 5e-2


def test_circle_agrees_with_the_geometry():
    points = torch.from_numpy(np.random.default_rng(1).standard_normal((50, 3)))
    ball, phi = Disc((0.1, 0.2, 0.3), 0.9), Circle((0.1, 0.2, 0.3), 0.9).distance(points)
    near = torch.from_numpy(np.abs(ball.signed_distance(points.numpy())))
    np.testing.assert_allclose(phi / near, 1, atol=1.5)
    surface = torch.tensor([[0.1 + 0.9, 0.2, 0.3], [0.1, 0.2 - 0.9, 0.3]])
    assert Circle((0.1, 0.2, 0.3), 0.9).distance(surface).max() < 1e-15


def test_same_numbers_in_numpy_and_jax():
    import jax
    import jax.numpy as jnp

    points, pieces = np.random.default_rng(2).uniform(0, 1, (20, 2)), outline(NOTCHED)

    def phi(x):
        return joined([p.distance(x) for p in pieces])

    expected = phi(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(phi(points), expected, rtol=1e-14)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(phi)(jnp.asarray(points)), expected, rtol=1e-13)


def test_shares_add_up():
    points = torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (30, 2)))
    for order in (1, 2):
        weights = shares([Plane(0, 0.0).distance(points), Plane(0, 1.0).distance(points)], order)
        torch.testing.assert_close(sum(weights), torch.ones(30))
        if order == 1:  # of two planes the straight line of transfinite interpolation
            torch.testing.assert_close(weights[1], points[:, 0], rtol=0, atol=1e-15)
    corner = torch.zeros(1, 2)
    weights = shares([p.distance(corner) for p in outline(NOTCHED)])
    assert [float(w) for w in weights] == [0.5, 0, 0, 0, 0, 0.5]


PARTS = {"floor": Plane(1, 0.0), "lid": Plane(1, 1.0), "sides": (Plane(0, 0.0), Plane(0, 1.0))}
GIVEN = {"floor": lambda x: torch.sin(math.pi * x[..., 0]), "lid": 2.0, "sides": lambda x: x[..., 1] * 2}


def test_values_on_a_grid_hold_exactly():
    y, x = torch.meshgrid(torch.linspace(0, 1, 9), torch.linspace(0, 1, 7), indexing="ij")
    points = torch.stack([x, y], -1)
    ansatz = Ansatz(PARTS)
    network = torch.from_numpy(1e3 * np.random.default_rng(4).standard_normal((3, 9, 7))).requires_grad_()
    u = ansatz(network, points, GIVEN)
    for row in u:
        torch.testing.assert_close(row[0, 1:-1], torch.sin(math.pi * x[0, 1:-1]), rtol=0, atol=0)
        torch.testing.assert_close(row[-1, 1:-1], torch.full((5,), 2.0), rtol=0, atol=0)
        torch.testing.assert_close(row[:, 0], 2 * y[:, 0], rtol=0, atol=1e-15)
    (slope,) = torch.autograd.grad(u.sum(), network)
    assert bool((slope[:, 1:-1, 1:-1] > 0).all()) and slope[:, 0].abs().max() == 0
    by_sample = ansatz(network, points, GIVEN | {"lid": torch.tensor([1.0, 2.0, 3.0])[:, None, None]})
    torch.testing.assert_close(by_sample[:, -1, 3], torch.tensor([1.0, 2.0, 3.0]), rtol=0, atol=0)


def test_values_at_points_with_channels():
    points = torch.cat([along((0.0, 0.0), (1.0, 0.0), 5)[1:-1], torch.rand(20, 2)])
    floor = torch.stack([points[:, 0], points[:, 0] ** 2], -1)
    u = Ansatz(PARTS, scale=2.0)(torch.randn(4, 23, 2), points, {"floor": floor, "lid": 1.0, "sides": 0.0})
    torch.testing.assert_close(u[:, :3], floor[:3].expand(4, 3, 2), rtol=0, atol=0)
    single = Ansatz(PARTS)(torch.randn(23).float(), points.float(), {"floor": 0.5, "lid": 1.0, "sides": 0.0})
    assert single.dtype == torch.float32 and bool((single[:3] == 0.5).all()) and bool(single.isfinite().all())


def test_derivatives_by_points():
    points = torch.from_numpy(np.random.default_rng(5).uniform(0.1, 0.9, (4, 2))).requires_grad_()
    ansatz = Ansatz({"wall": outline(NOTCHED), "body": Circle((1.5, 0.5), 0.2)})
    assert torch.autograd.gradcheck(
        lambda x: ansatz(torch.ones(4), x, {"wall": 1.0, "body": 0.0}), points, fast_mode=True
    )
    assert torch.autograd.gradgradcheck(
        lambda x: ansatz(torch.ones(4), x, {"wall": 1.0, "body": 0.0}), points, fast_mode=True
    )


def test_bad_input():
    points = torch.rand(5, 2)
    with pytest.raises(InputError, match="given: expected values on lid, sides too"):
        Ansatz(PARTS).extension(points, {"floor": 0.0})
    with pytest.raises(InputError, match="did you mean 'floor'"):
        Ansatz(PARTS).extension(points, {"flor": 0.0})
    with pytest.raises(InputError, match="network: expected values at points"):
        Ansatz(PARTS)(torch.rand(4), points, {"floor": 0.0, "lid": 0.0, "sides": 0.0})
    with pytest.raises(InputError, match="two different points"):
        Segment((0.0, 0.0), (0.0, 0.0))
    with pytest.raises(InputError, match="positive length"):
        Circle((0.0, 0.0), 0.0)
    with pytest.raises(InputError, match="at least one"):
        Ansatz({})
