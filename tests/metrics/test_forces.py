"""The force on a body by the balance of momentum around it."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.metrics import force_within

DENSITY, VISCOSITY = 2.0, 0.1
BOX = ((-0.2, 0.4), (-0.26, 0.34))


def kovasznay(n, speed=0.0):
    """The flow behind a grid, which has no body in it; as seen by somebody who moves with `speed` along x it is steady
    no more, but ∂t u = speed ∂x u."""
    nu = VISCOSITY / DENSITY
    lam = 0.5 / nu - np.sqrt(0.25 / nu**2 + 4 * np.pi**2)
    faces = np.linspace(-0.5, 1.0, n + 1), np.linspace(-0.5, 0.7, n + 1)
    x, y = ((f[1:] + f[:-1]) / 2 for f in faces)
    y = y[:, None]
    e, c, s = np.exp(lam * x), np.cos(2 * np.pi * y), np.sin(2 * np.pi * y)
    u, v = 1 - e * c - speed, lam / (2 * np.pi) * e * s
    p = DENSITY * (1 - np.exp(2 * lam * x)) / 2 + 0 * y
    rate = -speed * lam * e * c, speed * lam**2 / (2 * np.pi) * e * s
    return (u, v), p, faces, rate


@pytest.mark.parametrize("speed", [0.0, 0.7])
def test_where_nothing_is_there_is_no_force(speed):
    """Kovasznay's flow, to second order; fluid that goes by at another speed needs its rate of change."""
    errors = []
    for n in (30, 60, 120):
        velocity, p, faces, rate = kovasznay(n, speed)
        rate = rate if speed else None
        found = force_within(velocity, p + 5.0, faces, BOX, density=DENSITY, viscosity=VISCOSITY, rate=rate)
        errors.append(np.abs(found).max())
    assert errors[-1] < 2e-3
    assert 3.7 < errors[0] / errors[1] < 4.3 and 3.7 < errors[1] / errors[2] < 4.3
    if speed:
        velocity, p, faces, _ = kovasznay(60, speed)
        assert np.abs(force_within(velocity, p, faces, BOX, density=DENSITY, viscosity=VISCOSITY)).max() > 0.1


def test_arrays_of_all_libraries_and_frames_at_once():
    velocity, p, faces, _ = kovasznay(30)
    u, v, p = (np.stack([a, 2 * a]) for a in (*velocity, p))
    kept = force_within((u, v), p, faces, BOX, density=DENSITY, viscosity=VISCOSITY)
    assert kept[0].shape == (2,)
    tensors = [torch.tensor(a, requires_grad=True) for a in (u, v, p)]
    found = force_within(tensors[:2], tensors[2], faces, BOX, density=DENSITY, viscosity=VISCOSITY)
    np.testing.assert_allclose([f.detach().numpy() for f in found], kept, rtol=1e-12)
    found[0].sum().backward()
    # the pressure of a cell beside a side, and of one within
    h = np.diff(faces[1])[0]
    assert float(tensors[2].grad[0, 15, 6]) == pytest.approx(h / 2) and float(tensors[2].grad[0, 15, 12]) == 0.0
    single = force_within([jnp.asarray(a) for a in (u, v)], jnp.asarray(p), faces, BOX, density=DENSITY, viscosity=0.1)
    np.testing.assert_allclose(single, kept, rtol=0, atol=1e-5)


def test_boxes_that_do_not_fit_are_refused():
    velocity, p, faces, _ = kovasznay(30)
    for box, lines, words in (
        (((-0.45, 0.4), BOX[1]), faces, "box along x: expected sides at least two cells"),
        ((BOX[0], (0.3, -0.2)), faces, "box along y"),
        (BOX, (faces[0][:-1], faces[1]), "faces along x: expected 31"),
        (BOX, (faces[0], faces[1] ** 3), "faces along y: expected 31 at equal distances"),
    ):
        with pytest.raises(InputError, match=words):
            force_within(velocity, p, lines, box, density=DENSITY, viscosity=VISCOSITY)


def test_each_field_has_a_density_of_its_own():
    (u, v), p, faces, _ = kovasznay(30)
    n = round((BOX[1][1] - BOX[1][0]) / (faces[1][1] - faces[1][0]))  # as many fields as cells along a side
    each = np.arange(1.0, 1 + n)
    many = tuple(np.stack([a] * n) for a in (u, v, p))
    found = force_within(many[:2], many[2], faces, BOX, density=each, viscosity=VISCOSITY * each)
    for k, rho in enumerate(each):
        one = force_within((u, v), p, faces, BOX, density=rho, viscosity=VISCOSITY * rho)
        np.testing.assert_allclose([f[k] for f in found], one, rtol=1e-9, atol=1e-12)


def test_shapes_that_do_not_fit_are_refused():
    (u, v), p, faces, rate = kovasznay(30)
    given = {"density": DENSITY, "viscosity": VISCOSITY}
    for velocity, pressure, more, said in (
        ((u, v[1:]), p, {}, "v: expected the shape of u"),
        ((u, v), p[:, 1:], {}, "pressure: expected the shape of u"),
        ((u, v), p, {"rate": (rate[0][1:], rate[1])}, "rate along x: expected the shape of u"),
        ((u, v, u), p, {}, "velocity: expected two arrays"),
        ((u, v), p, {"density": np.ones(3)}, "density: expected a number"),
    ):
        with pytest.raises(InputError, match=said):
            force_within(velocity, pressure, faces, BOX, **(given | more))
    with pytest.raises(InputError, match="box: expected"):
        force_within((u, v), p, faces, ((0.1, 0.3),), **given)
