"""The boundary that a body embeds in a grid, and balances that know of it."""

import jax
import numpy as np
import pytest
import torch

from sciml import Dirichlet, Neumann
from sciml.derivatives import jax as in_jax
from sciml.derivatives import numpy as in_numpy
from sciml.derivatives import torch as in_torch
from sciml.geometry import Box, Disc
from sciml.problems import CylinderFlow, Poisson
from sciml.support import EmbeddedBoundary, Grid

DOMAIN = Box((0.0, 0.0), (1.0, 1.0)).without(Disc((0.47, 0.53), 0.23), "hole")


def test_walls_lie_on_the_circle_and_close_it():
    grid = Grid.uniform(DOMAIN, 40)
    body = EmbeddedBoundary.of(DOMAIN, grid)
    away = np.linalg.norm(body.points - (0.47, 0.53), axis=1)
    assert np.abs(away - 0.23).max() < 1e-4
    assert body.areas.sum() == pytest.approx(2 * np.pi * 0.23, rel=1e-3)
    assert np.abs((body.areas[:, None] * body.normals).sum(0)).max() < 1e-12  # a closed curve
    inwards = -(body.points - (0.47, 0.53)) / away[:, None]  # out of the fluid
    assert (body.normals * inwards).sum(1).min() > 0.99
    assert body.names == ("hole",)


def test_linear_fields_have_their_values_slopes_and_balances():
    """u = 1 + 2x − 3y: on the wall, along its normals, and of its fluxes, to rounding."""
    grid = Grid.uniform(DOMAIN, 24)
    body = EmbeddedBoundary.of(DOMAIN, grid)

    def linear(points):
        return 1 + 2 * points[..., 0] - 3 * points[..., 1]

    values = linear(grid.points())
    near = values.ravel()[body.index]
    inwards = -(body.normals @ (2.0, -3.0))
    assert (near * body.value).sum(1) == pytest.approx(linear(body.points), abs=1e-12)
    assert (near * body.free).sum(1) == pytest.approx(inwards, abs=1e-11)
    given = (near * body.slope).sum(1) - body.stiffness * linear(body.points)
    assert given == pytest.approx(inwards, abs=1e-11)
    conditions = {name: {"p": Dirichlet(lambda points, time: linear(points))} for name in DOMAIN.boundaries}
    (balance,) = Poisson().balances().values()
    inputs = {"source": np.zeros(grid.shape)}
    found = in_numpy.finite_volume(balance, grid, {"p": values}, inputs=inputs, boundary=conditions, body=body)
    assert np.abs(found[body.alive]).max() < 1e-9


def test_libraries_agree_and_differentiate():
    grid = Grid.uniform(DOMAIN, 20)
    body = EmbeddedBoundary.of(DOMAIN, grid)
    random = np.random.default_rng(0)
    p, source = random.standard_normal((2, 20, 20)), random.standard_normal((20, 20))
    sides = {name: {"p": Dirichlet(0.0)} for name in DOMAIN.boundaries} | {"hole": {"p": Neumann(0.3)}}
    (balance,) = Poisson().balances().values()
    wanted = in_numpy.finite_volume(balance, grid, {"p": p}, inputs={"source": source}, boundary=sides, body=body)
    assert wanted.shape == (2, 20, 20)
    tensor = torch.tensor(p, requires_grad=True)
    found = in_torch.finite_volume(
        balance, grid, {"p": tensor}, inputs={"source": torch.tensor(source)}, boundary=sides, body=body
    )
    assert np.abs(found.detach().numpy() - wanted).max() < 1e-12 * np.abs(wanted).max()
    (slope,) = torch.autograd.grad((found**2).sum(), tensor)
    with jax.enable_x64(True):

        def loss(q):
            given = {"inputs": {"source": source}, "boundary": sides, "body": body}
            return (in_jax.finite_volume(balance, grid, {"p": q}, **given) ** 2).sum()

        assert np.abs(jax.grad(loss)(p) - slope.numpy()).max() < 1e-10 * np.abs(slope.numpy()).max()
    assert not np.any(slope.numpy()[:, ~body.alive])  # solid cells play no part


def test_a_body_within_a_flow_takes_no_mass():
    """Stored face velocities of a stream function: what the open shares let through adds up to nothing."""
    from sciml.solvers import IncompressibleFlow

    case = CylinderFlow().case(viscosity=4e-3)
    found = IncompressibleFlow((36, 66), dtype="float64").solve(case, times=[0.02])
    grid = Grid.uniform(case.geometry, (36, 66))
    fields = {n: np.nan_to_num(found[n].values[0]) for n in ("u", "v", "p")}
    faces = {("u", 0): found["u_face"].values[0], ("v", 1): found["v_face"].values[0]}
    body = EmbeddedBoundary.of(case.geometry, grid)
    lost = in_numpy.finite_volume(
        case.problem.balances()["continuity"], grid, fields, face_values=faces, boundary=case.boundary_conditions,
        body=body,
    )  # fmt: skip
    assert np.abs(lost).max() < 1e-9 / 0.003
