"""Velocity gradients and vortex criteria against exact flows, orders of accuracy and invariances."""

import itertools
import math

import numpy as np
import pytest
import xarray as xr

from sciml import problems, structure
from sciml.data import solution
from sciml.data.exporters import vtu
from sciml.errors import InputError
from sciml.structure.gradient import Differences
from sciml.support import Grid

AXES = "xyz"


def box(n=8, d=3, periodic=False, length=2.0):
    return Grid((np.linspace(-length / 2, length / 2, n + 1),) * d, (periodic,) * d)


def stretched(n, d=3, length=2.0):
    s = np.linspace(-1, 1, n + 1)
    return Grid((length / 2 * np.tanh(1.5 * s) / np.tanh(1.5),) * d)


def flow(grid, velocity, times=None):
    """A bare data set of a velocity function of points (..., D) -> (..., D)."""
    values = np.moveaxis(velocity(grid.points()), -1, 0)
    coords = {a: c for a, c in zip(AXES, grid.centres, strict=False)}
    return xr.Dataset({n: (grid.dims, v, {"units": "m s-1"}) for n, v in zip("uvw", values, strict=False)}, coords)


def linear(matrix):
    return lambda x: x @ np.asarray(matrix, float).T


def test_solid_rotation_shear_and_strain_are_exact():
    """Linear velocities have exact gradients, to rounding, on stretched cells too."""
    w, s, a = 1.7, 0.9, 0.6
    rotation = linear([[0, -w, 0], [w, 0, 0], [0, 0, 0]])
    shear, strain = linear([[0, s, 0], [0, 0, 0], [0, 0, 0]]), linear(np.diag([a, a, -2 * a]))
    names = ("vorticity", "q_criterion", "lambda2", "swirling_strength")
    for grid in (box(), stretched(9)):
        found = structure.vortices(flow(grid, rotation), names, grid=grid)
        assert np.allclose(found.vorticity_z, 2 * w, atol=1e-11) and np.allclose(found.vorticity_x, 0, atol=1e-11)
        assert np.allclose(found.q_criterion, w**2, atol=1e-11)
        assert np.allclose(found.lambda2, -(w**2), atol=1e-11)  # twice −w², and 0
        assert np.allclose(found.swirling_strength, w, atol=1e-11)
        found = structure.vortices(flow(grid, shear), names, grid=grid)
        assert np.allclose(found.vorticity_z, -s, atol=1e-11)
        for name in ("q_criterion", "lambda2"):
            assert np.allclose(found[name], 0, atol=1e-11)
        assert np.allclose(found.swirling_strength, 0, atol=1e-4)  # the cube root of rounding
        found = structure.vortices(flow(grid, strain), names, grid=grid)
        assert np.allclose(found.q_criterion, -3 * a**2, atol=1e-11)
        assert np.allclose(found.lambda2, a**2, atol=1e-11) and np.allclose(found.swirling_strength, 0, atol=1e-6)
    assert found.q_criterion.attrs["units"] == "s-2" and found.vorticity_z.attrs["units"] == "s-1"


def test_plane_flow_says_the_same_in_two_and_three_dimensions():
    plane = box(12, 2)
    matrix = np.array([[0.3, -1.1], [0.7, -0.3]])
    two = structure.vortices(
        flow(plane, linear(matrix)), ("q_criterion", "okubo_weiss", "lambda2", "swirling_strength"), grid=plane
    )
    space = box(12, 3)
    three = structure.vortices(flow(space, linear(np.pad(matrix, ((0, 1), (0, 1))))), grid=space)
    for name in ("q_criterion", "lambda2", "swirling_strength"):
        assert np.allclose(two[name], three[name].values[0], atol=1e-10), name
    assert np.allclose(two.okubo_weiss, -4 * two.q_criterion, atol=1e-10)


@pytest.mark.parametrize("make", [box, stretched])
def test_observed_order_on_axes_with_ends(make):
    """Order 6 up to the ends, first derivatives; at least 5 for second ones."""
    errors = {1: [], 2: []}
    for n in (24, 48):
        grid = make(n, 2)
        x, y = grid.coordinate(0), grid.coordinate(1)
        f, rule = np.sin(3 * x + 0.3) * np.cos(2 * y), Differences(grid)
        errors[1].append(np.abs(rule(f, 0) - 3 * np.cos(3 * x + 0.3) * np.cos(2 * y)).max())
        errors[2].append(np.abs(rule(f, 1, 2) + 4 * f).max())
    assert math.log2(errors[1][0] / errors[1][1]) > 5.6
    assert math.log2(errors[2][0] / errors[2][1]) > 4.6


def test_observed_order_of_a_stretched_periodic_axis():
    errors = []
    for n in (24, 48):
        s = np.linspace(0, 1, n + 1)
        grid = Grid((s + 0.1 * np.sin(2 * np.pi * s) / (2 * np.pi) * 4, s), (True, True))
        x = grid.coordinate(0) * 2 * np.pi
        f = np.sin(x) * np.ones(grid.shape)
        errors.append(np.abs(Differences(grid)(f, 0) - 2 * np.pi * np.cos(x)).max())
        assert not Differences(grid).spectral(0) and Differences(grid).spectral(1)
    assert math.log2(errors[0] / errors[1]) > 5.5


def test_periodic_axes_are_spectral():
    grid = Grid((np.linspace(0, 2 * np.pi, 17),) * 2, (True, True))
    x, y = grid.coordinate(0), grid.coordinate(1)
    f = np.cos(5 * x) * np.sin(3 * y) + np.sin(7 * x)
    rule = Differences(grid)
    assert np.allclose(rule(f, 0), -5 * np.sin(5 * x) * np.sin(3 * y) + 7 * np.cos(7 * x), atol=1e-12)
    assert np.allclose(rule.laplacian(f), -34 * np.cos(5 * x) * np.sin(3 * y) - 49 * np.sin(7 * x), atol=1e-11)


def test_walls_stand_in_the_stencils():
    """Values at the faces make the gradient of a boundary layer better, and exact for what they make exact."""
    grid = Grid((np.linspace(0, 1, 9), np.linspace(-1, 1, 13)), (True, False))
    profile = lambda y: np.stack([1 - y**8, 0 * y])  # noqa: E731
    y = grid.coordinate(1)
    u = profile(y) * np.ones(grid.shape)
    plain = structure.velocity_gradient(u, grid)[0, 1]
    walls = structure.velocity_gradient(u, grid, walls={"y_min": 0.0, "y_max": (0.0, 0.0)})[0, 1]
    errors = [np.abs(a + 8 * y**7).max() for a in (plain, walls)]
    assert errors[1] < 0.2 * errors[0]
    with pytest.raises(InputError, match="walls: expected ends that are not periodic"):
        structure.velocity_gradient(u, grid, walls={"x_min": 0.0})


@pytest.mark.parametrize("periodic", [False, True])
def test_nothing_is_read_across_a_mask(periodic):
    """Polynomials of degree 6 are exact in every cell of a long enough line, whatever stands outside."""
    n = 24
    grid = Grid((np.linspace(0, 1, n + 1),) * 2, (periodic, False))
    centre = np.hypot(grid.coordinate(0) - 0.5, grid.coordinate(1) - 0.5)
    mask = (centre > 0.2).astype(np.uint8)
    mask[0, :4] = [1, 0, 1, 0]  # a line of one cell between two solid ones
    masked = Grid(grid.faces, grid.periodic, mask)
    x, y = grid.coordinate(0), grid.coordinate(1)
    f = (y**3 - y) * np.ones_like(x)
    broken = np.where(mask, f, np.nan)
    found = Differences(masked)(broken, 1)
    assert np.isnan(found[mask == 0]).all()
    assert np.allclose(found[mask == 1], ((3 * y**2 - 1) * np.ones_like(x))[mask == 1], atol=1e-9)
    wave = np.where(mask, np.cos(2 * np.pi * x) * np.ones_like(y), np.nan)
    along = Differences(masked)(wave, 0)
    assert np.isnan(along[0, 2])
    good = (mask == 1) & ~np.isnan(along)
    exact = -2 * np.pi * np.sin(2 * np.pi * x) * np.ones_like(y)
    assert good.sum() == (mask == 1).sum() - (1 if periodic else 2)
    assert np.abs(along - exact)[good].max() < 2e-2  # seven points on 24 cells a wave, one-sided at the body


def test_masked_grid_equals_unmasked_one_away_from_the_mask():
    grid = stretched(20, 2)
    mask = np.ones(grid.shape)
    mask[0, 0] = 0
    f = np.sin(2 * grid.coordinate(0)) * np.exp(grid.coordinate(1))
    a, b = Differences(grid)(f, 0), Differences(Grid(grid.faces, (), mask))(f, 0)
    assert np.allclose(a[1:], b[1:], atol=1e-12)


def test_burgers_vortex():
    """A steady stretched vortex: ω = αΓ/(4πν) e^(−αr²/4ν), strain −α/2, −α/2, α."""
    alpha, gamma, nu = 1.0, 8.0, 0.02

    def velocity(x):
        r2 = x[..., 0] ** 2 + x[..., 1] ** 2
        turn = gamma / (2 * np.pi) * -np.expm1(-alpha * r2 / (4 * nu)) / r2
        in_and_round = -alpha / 2 * x[..., :2] + turn[..., None] * np.stack([-x[..., 1], x[..., 0]], -1)
        return np.concatenate([in_and_round, alpha * x[..., 2:]], -1)

    grid = Grid((np.linspace(-1, 1, 49), np.linspace(-1, 1, 49), np.linspace(-0.5, 0.5, 9)))
    found = structure.vortices(flow(grid, velocity), grid=grid)
    r2 = grid.coordinate(0) ** 2 + grid.coordinate(1) ** 2 + 0 * grid.coordinate(2)
    omega = alpha * gamma / (4 * np.pi * nu) * np.exp(-alpha * r2 / (4 * nu))
    assert np.abs(found.vorticity_z.values - omega).max() < 5e-3 * omega.max()
    assert np.abs(found.vorticity_x.values).max() < 1e-9 * omega.max()
    # in the middle: S² + Ω² is (α²/4 − ω²/4) twice, and α²
    middle = np.abs(found.lambda2.values[4] - (alpha**2 / 4 - omega[4] ** 2 / 4)) < 2e-2 * omega.max() ** 2 / 4
    assert middle[23:25, 23:25].all() and found.lambda2.values[4, 0, 0] > 0


def test_core_of_a_lamb_oseen_vortex_by_lambda2():
    """Of a plane axisymmetric flow S² + Ω² is −(u/r) du/dr twice: λ₂ changes its sign where u is largest, at 1.1209
    core radii."""
    core, gamma = 0.35, 2.0

    def velocity(x):
        r2 = (x**2).sum(-1)
        turn = gamma / (2 * np.pi) * -np.expm1(-r2 / core**2) / r2
        return np.stack([-turn * x[..., 1], turn * x[..., 0]], -1)

    grid = Grid((np.linspace(-1, 1, 65),) * 2)
    found = structure.lambda2(flow(grid, velocity), grid=grid).lambda2.values
    r = np.sqrt((grid.points() ** 2).sum(-1))
    radius = 1.1209064 * core  # of the largest u
    h = 2 / 64
    assert np.all(found[r < radius - 0.2 * h] < 0)
    assert np.all(found[(r > radius + 0.2 * h) & (r < 0.8)] >= 0)
    area = np.sqrt((found < 0).sum() * h * h / np.pi)
    assert area == pytest.approx(radius, rel=0.02)


def abc(x, t=0.0):
    a, b, c = 1.0, 0.7, 0.43
    x, y, z = (x[..., i] for i in range(3))
    return np.stack(
        [a * np.sin(z) + c * np.cos(y), b * np.sin(x) + a * np.cos(z), c * np.sin(y) + b * np.cos(x)], -1
    )  # fmt: skip


def test_vorticity_of_a_beltrami_flow_is_its_velocity_and_q_is_half_the_trace():
    grid = Grid((np.linspace(0, 2 * np.pi, 13),) * 3, (True,) * 3)
    data = flow(grid, abc)
    found = structure.vortices(data, grid=grid)
    for n, a in zip("uvw", AXES, strict=True):
        assert np.allclose(found[f"vorticity_{a}"], data[n], atol=1e-12)
    gradient = structure.velocity_gradient(np.stack([data[n].values for n in "uvw"]), grid)
    square = np.einsum("ij...,ji...->...", gradient, gradient)
    assert np.allclose(found.q_criterion, -square / 2, atol=1e-12)
    strain, turn = (gradient + gradient.swapaxes(0, 1)) / 2, (gradient - gradient.swapaxes(0, 1)) / 2
    assert np.allclose(found.q_criterion, ((turn**2).sum((0, 1)) - (strain**2).sum((0, 1))) / 2, atol=1e-12)
    eigen = np.linalg.eigvals(gradient.reshape(3, 3, -1).transpose(2, 0, 1))
    assert np.allclose(found.swirling_strength.values.ravel(), np.abs(eigen.imag).max(1), atol=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_axes_may_be_exchanged(order):
    """Criteria are the same after a permutation of axes; an odd one turns vorticity round."""
    grid = Grid(
        (np.linspace(0, 2 * np.pi, 9), np.linspace(0, 2 * np.pi, 11), np.linspace(0, 2 * np.pi, 13)), (True,) * 3
    )
    turned = Grid(tuple(grid.faces[k] for k in order), (True,) * 3)
    back = np.argsort(order)
    a = structure.vortices(flow(grid, abc), grid=grid)
    b = structure.vortices(flow(turned, lambda x: abc(x[..., back])[..., list(order)]), grid=turned)
    axes = [2 - order[2 - k] for k in range(3)]  # array axes run z, y, x
    for name in ("q_criterion", "lambda2", "swirling_strength"):
        assert np.allclose(a[name].values.transpose(axes), b[name].values, atol=1e-6), name
    sign = np.linalg.det(np.eye(3)[list(order)])
    for k in range(3):
        was = a[f"vorticity_{AXES[order[k]]}"].values.transpose(axes)
        assert np.allclose(sign * was, b[f"vorticity_{AXES[k]}"].values, atol=1e-11)


def test_a_moving_observer_sees_the_same():
    grid = Grid((np.linspace(0, 2 * np.pi, 9),) * 3, (True,) * 3)
    a = structure.vortices(flow(grid, abc), grid=grid)
    b = structure.vortices(flow(grid, lambda x: abc(x) + np.array([3.0, -2.0, 5.0])), grid=grid)
    for name in a.data_vars:
        assert np.allclose(a[name], b[name], atol=1e-6 if name == "swirling_strength" else 1e-11), name


def test_taylor_green_vortices_of_a_case():
    """A solution finds its grid, velocity and times by itself: ω = 2kU cos kx cos ky e^(−2νk²t), up to sign."""
    case = problems.TaylorGreen().case(velocity=1.3, viscosity=0.05, length=2.0)
    grid, times = Grid.uniform(case.geometry, 16), [0.0, 0.4]
    truth = solution(case, times, case.exact(times, grid.centres), grid)
    found = structure.vortices(truth, ("vorticity", "q_criterion", "okubo_weiss"))
    k, nu = np.pi, 0.05
    x, y = grid.coordinate(0), grid.coordinate(1)
    for frame, t in enumerate(times):
        fade = np.exp(-2 * nu * k**2 * t)
        omega = -2 * k * 1.3 * np.cos(k * x) * np.cos(k * y) * fade
        assert np.allclose(found.vorticity[frame], omega, atol=1e-11)
        # W = 4 (kU)² (sin² sin² − cos² cos²)
        w = 4 * (k * 1.3 * fade) ** 2 * ((np.sin(k * x) * np.sin(k * y)) ** 2 - (np.cos(k * x) * np.cos(k * y)) ** 2)
        assert np.allclose(found.okubo_weiss[frame], w, atol=1e-10)
        assert np.allclose(found.q_criterion[frame], -w / 4, atol=1e-10)
    assert found.attrs["case_json"] == truth.attrs["case_json"] and list(found.time) == times
    assert found.vorticity.dims == ("time", "y", "x") and found.vorticity.attrs["long_name"] == "vorticity"


def test_bad_input_is_refused_in_one_line():
    grid = box(6, 2)
    data = flow(grid, linear(np.eye(2)))
    with pytest.raises(InputError, match=r"q_criterion: velocity: expected 2 components .* got u"):
        structure.q_criterion(data.drop_vars("v"))
    with pytest.raises(InputError, match="v missing"):
        structure.q_criterion(data.drop_vars("v"), velocity=("u", "v"))
    with pytest.raises(InputError, match=r"no criterion 'lambda_2'; did you mean 'lambda2'"):
        structure.vortices(data, ("lambda_2",))
    assert structure.vortices(data, "lambda2").equals(structure.lambda2(data))
    with pytest.raises(InputError, match="expected a solution"):
        structure.vorticity(np.zeros((4, 4)))
    with pytest.raises(InputError, match="okubo_weiss: expected a flow in 2 dimensions"):
        structure.okubo_weiss(flow(box(6), linear(np.eye(3))))
    with pytest.raises(InputError, match="has shape"):
        structure.vorticity(data, grid=box(7, 2))


def test_criteria_go_to_paraview(tmp_path):
    case = problems.TaylorGreen().case()
    grid = Grid.uniform(case.geometry, 8)
    truth = solution(case, [0.0, 0.5], case.exact([0.0, 0.5], grid.centres), grid)
    found = structure.vortices(truth)
    path = vtu.export_solution(found.merge(truth), tmp_path / "vortices")
    assert path == tmp_path / "vortices.pvd" and path.exists()
    frames = sorted((tmp_path / "vortices").iterdir())
    assert len(frames) == 2 and all(f'Name="{n}"'.encode() in frames[1].read_bytes() for n in (*found, "velocity"))
    meshio = pytest.importorskip("meshio")
    read = meshio.read(frames[1]).cell_data["lambda2"][0]
    assert np.allclose(read, found.lambda2.values[1].ravel())
    with pytest.raises(InputError, match="exists already"):
        vtu.export_solution(found, tmp_path / "vortices")
