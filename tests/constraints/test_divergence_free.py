"""Velocities free of divergence: on periodic boxes, from potentials, and on staggered grids with bodies."""

import math

import numpy as np
import pytest
import torch

from sciml.boundary import Dirichlet
from sciml.constraints import (
    CentralLeray,
    Leray,
    StaggeredProjection,
    cell_curl,
    cell_velocity,
    face_curl,
    face_velocity,
    hold_on_bodies,
)
from sciml.derivatives import central
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Field
from sciml.support import Grid


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def box(lengths, cells):
    faces = tuple(np.linspace(0, a, n + 1) for a, n in zip(lengths, cells, strict=True))
    return Grid(faces, (True,) * len(lengths))


BOXES = [((1.0, 2.5), (12, 10)), ((1.0, 2.0), (9, 15)), ((1.0, 2.0, 0.7), (8, 6, 5))]


@pytest.mark.parametrize(("lengths", "cells"), BOXES)
@pytest.mark.parametrize("kind", [Leray, CentralLeray])
def test_projection_on_boxes(kind, lengths, cells):
    d = len(cells)
    project, u, v = kind(lengths), noise(3, d, *cells[::-1]), noise(3, d, *cells[::-1], seed=1)
    w = project(u)
    torch.testing.assert_close(project(w), w, rtol=0, atol=1e-13)
    torch.testing.assert_close((w * v).sum(), (u * project(v)).sum(), rtol=1e-12, atol=0)
    axes = tuple(range(-d, 0))
    torch.testing.assert_close(w.mean(axes), u.mean(axes), rtol=0, atol=1e-14)
    grid = box(lengths, cells)
    if kind is CentralLeray:
        found = central.divergence(w.numpy().swapaxes(0, 1), grid)
    else:
        fields = {name: w[:, k].numpy() for k, name in enumerate("xyz"[:d])}
        balance = Balance(flux=tuple(Field(n) for n in fields))
        found = provider.strong(balance, grid, fields, method="spectral")
    assert np.abs(found).max() < 1e-11
    assert torch.autograd.gradcheck(project, noise(d, *cells[::-1]).requires_grad_(), fast_mode=True)


def test_leray_is_free_of_divergence_between_nodes():
    """Of the trigonometric polynomial, here evaluated on a grid four times as fine."""
    u = Leray((1.0, 1.0))(noise(2, 8, 8))
    spectrum = torch.fft.fftshift(torch.fft.fft2(u), dim=(-2, -1))
    fine = torch.fft.ifft2(torch.fft.ifftshift(torch.nn.functional.pad(spectrum, (12, 12, 12, 12)), dim=(-2, -1))).real
    k = 2 * math.pi * torch.fft.fftfreq(32) * 32
    spectrum = torch.fft.fft2(fine)
    assert (k * spectrum[0] + k[:, None] * spectrum[1]).abs().max() < 1e-10


def test_leray_keeps_what_is_free_of_divergence():
    x = torch.arange(16) / 16 * 2 * math.pi
    u = torch.stack([torch.cos(x) * torch.sin(x[:, None]), -torch.sin(x) * torch.cos(x[:, None])])
    for kind in (Leray, CentralLeray):
        torch.testing.assert_close(kind((2 * math.pi,) * 2)(u), u, rtol=0, atol=1e-14)
        gradient = torch.stack([torch.cos(x) * torch.cos(x[:, None]), -torch.sin(x) * torch.sin(x[:, None])])
        assert kind((2 * math.pi,) * 2)(gradient).abs().max() < 1e-14
        assert kind((1.0, 1.0))(u.float()).dtype == torch.float32


def face_divergence(u, v, dx, dy):
    return u.diff(dim=-1) / dx + v.diff(dim=-2) / dy[:, None]


@pytest.mark.parametrize("periodic", [(False, False), (True, False), (True, True)])
def test_stream_function_on_faces(periodic):
    dx, dy = torch.linspace(0.5, 1.5, 9), torch.linspace(1.0, 0.3, 7)
    psi = noise(2, 7 + (not periodic[1]), 9 + (not periodic[0]))
    u, v = face_velocity(psi, (dx, dy), periodic, mean=(0.3, -0.1))
    assert u.shape == (2, 7, 10) and v.shape == (2, 8, 9)
    assert face_divergence(u, v, dx, dy).abs().max() < 1e-13
    if all(periodic):
        torch.testing.assert_close((u[..., :-1] * dy[:, None]).sum((1, 2)), torch.full((2,), 0.3 * 9 * float(dy.sum())))


def test_bodies_hold_the_stream_function():
    solid = np.zeros((7, 9), bool)
    solid[2:4, 3:5] = solid[5, 7] = True
    dx, dy = torch.ones(9), torch.ones(7)
    u, v = face_velocity(hold_on_bodies(noise(3, 8, 10), solid), (dx, dy))
    wet = torch.from_numpy(~solid)
    assert u[:, 2:4, 3:6].abs().max() < 1e-14 and v[:, 2:5, 3:5].abs().max() < 1e-14
    assert u[:, 5, 7:9].abs().max() < 1e-14 and v[:, 5:7, 7].abs().max() < 1e-14
    assert face_divergence(u, v, dx, dy)[:, wet].abs().max() < 1e-13
    assert u.abs().max() > 1


@pytest.mark.parametrize("walls", [(None, None), (None, (0.2, -0.4)), ((0.3, 0.3), (0.3, 0.3))])
def test_stream_function_at_cell_centres(walls):
    """In the measure of the audit: zero on periodic axes and between walls, next to them too."""
    grid = Grid((np.linspace(0, 1.0, 11), np.linspace(0, 2.0, 9)), tuple(w is None for w in walls))
    found = cell_velocity(noise(8, 10), (0.1, 0.25), walls, None if any(walls) else (0.5, 1.0)).numpy()
    boundary = {f"{a}_{e}": {n: Dirichlet(0.0)} for a, n, w in zip("xy", "uv", walls, strict=True) if w
                for e in ("min", "max")}  # fmt: skip
    balance = Balance(flux=(Field("u"), Field("v")))
    defect = provider.finite_volume(balance, grid, {"u": found[0], "v": found[1]}, boundary=boundary)
    assert np.abs(defect).max() < 1e-12


def test_vector_potentials():
    widths = (torch.linspace(0.5, 1.5, 5), torch.tensor(0.3), torch.linspace(1.0, 0.4, 4))
    a = (noise(2, 5, 7, 5), noise(2, 5, 6, 6, seed=1), noise(2, 4, 7, 6, seed=2))
    u, v, w = face_curl(a, widths)
    total = u.diff(dim=-1) / widths[0] + v.diff(dim=-2) / 0.3 + w.diff(dim=-3) / widths[2][:, None, None]
    assert total.shape == (2, 4, 6, 5) and total.abs().max() < 1e-13
    grid = box((1.0, 2.0, 0.7), (8, 6, 5))
    found = cell_curl(noise(3, 5, 6, 8), (1 / 8, 1 / 3, 0.14), mean=(1.0, 2.0, 3.0))
    assert np.abs(central.divergence(found.numpy(), grid)).max() < 1e-12
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.tensor([1.0, 2.0, 3.0]))


# Staggered grids

WIDTHS = (np.linspace(0.5, 1.5, 10), np.linspace(1.0, 0.6, 8))


def channel(**options):
    """A channel with a body, and a closed chamber behind a wall of solid cells."""
    fluid = np.ones((8, 10), bool)
    fluid[3:5, 3:5] = fluid[6, :] = False
    return StaggeredProjection(WIDTHS, fluid=fluid, **options)


def faces(seed=0, batch=(3,)):
    return noise(*batch, 8, 11, seed=seed), noise(*batch, 9, 10, seed=seed + 1)


def through(inflow, outflow):
    u, v = torch.zeros(8, 11), torch.zeros(9, 10)
    u[:6, 0], u[:6, -1] = inflow, outflow
    return u, v


def test_staggered_projection():
    project = channel()
    dy = torch.from_numpy(WIDTHS[1])[:6]
    profile = torch.linspace(1.0, 2.0, 6)
    given = through(profile, float((profile * dy).sum() / dy.sum()))
    w = project(faces(), given)
    assert project.divergence(w).abs().max() < 1e-11
    torch.testing.assert_close(w[0][:, :6, 0], profile.expand(3, 6))
    assert w[0][:, 3:5, 3:6].abs().max() == 0 and w[1][:, 6:8].abs().max() == 0
    again = project(w, given)
    for a, b in zip(again, w, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_staggered_projection_is_least_change():
    """u − u' is orthogonal, in the kinetic energy, to all fields free of divergence: 1/2 M of both sides of a face."""
    project, u = channel(), faces()
    w, other = project(u), project(faces(seed=7))
    wx, wy = WIDTHS
    mass = (
        wy[:, None] * (np.append(0, wx) + np.append(wx, 0)) / 2,
        wx * (np.append(0, wy) + np.append(wy, 0))[:, None] / 2,
    )
    inner = sum(((a - b) * torch.from_numpy(m) * c).sum() for a, b, c, m in zip(u, w, other, mass, strict=True))
    outside = sum((torch.where(c == 0, 0.0, a - b) ** 2).sum() for a, b, c in zip(u, w, other, strict=True))
    assert abs(float(inner)) < 1e-11 * float(outside)


def test_open_ends_need_no_balance():
    opened = np.zeros((8, 11), bool)
    opened[:6, -1] = True
    project = channel(open_faces=(opened, np.zeros((9, 10), bool)))
    w = project(faces(), through(1.0, 5.0))
    assert project.divergence(w).abs().max() < 1e-11
    total = (w[0][:, :6, -1] * torch.from_numpy(WIDTHS[1])[:6]).sum(-1)
    torch.testing.assert_close(total, torch.full((3,), WIDTHS[1][:6].sum()))


def test_what_does_not_balance():
    with pytest.raises(InputError, match=r"comes into part 1 of the fluid and .* leaves it"):
        channel()(faces(), through(1.0, 1.2))
    project = channel(adjust=True)
    w = project(faces(), through(1.0, 1.2))
    torch.testing.assert_close(w[0][:, :6, -1], torch.ones(3, 6))
    assert project.divergence(w).abs().max() < 1e-11
    with pytest.raises(InputError, match="no given outflow"):
        project(faces(), through(1.0, 0.0))
    with pytest.raises(InputError, match="velocity: expected faces"):
        project(faces()[::-1])


def test_staggered_gradients_and_single_precision():
    project = channel(adjust=True)
    u, v = (f.requires_grad_() for f in faces(batch=()))
    inflow = torch.linspace(1.0, 2.0, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, v, g: project((u, v), through(g, 1.2)), (u, v, inflow), fast_mode=True)
    w = project(tuple(f.float() for f in faces()), tuple(g.float() for g in through(1.0, 1.0)))
    assert w[0].dtype == torch.float32 and project.divergence(w).abs().max() < 1e-5


def test_staggered_in_space_and_around():
    widths = (np.full(4, 0.5), np.linspace(1, 2, 5), np.full(6, 0.25))
    fluid = np.random.default_rng(3).random((6, 5, 4)) > 0.2
    project = StaggeredProjection(widths, (True, False, True), fluid)
    w = project((noise(6, 5, 5), noise(6, 6, 4), noise(7, 5, 4)))
    assert project.divergence(w).abs().max() < 1e-11
    torch.testing.assert_close(w[0][..., 0], w[0][..., -1], rtol=0, atol=0)
    assert w[0].abs().max() > 0.1 and w[1][:, [0, -1]].abs().max() == 0
