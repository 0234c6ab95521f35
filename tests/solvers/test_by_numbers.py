"""Answers of surrogates as functions of numbers: equal to those of `solve`, and their derivatives to differences."""

import numpy as np
import pytest
import torch
from _made import FEW, cube, hole, own, recipe, triangles, values, waves

from sciml import data
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.operators import FNO
from sciml.problems import Burgers, CylinderFlow, LidDrivenCavity
from sciml.solvers import Surrogate, load
from sciml.support import Grid
from sciml.training import Autoregressive, DivergenceFree, Query, Steady, Window

SPEEDS = (0.2, 0.3, 0.4)


def differences(function, at, step):
    """(K,) central differences of fourth order of a scalar function of a tensor (K,), steps (K,)."""
    found = []
    for k in range(len(at)):
        e = torch.zeros_like(at)
        e[k] = step[k]
        with torch.no_grad():
            near, far = (float(function(at + s * e) - function(at - s * e)) for s in (1, 2))
        found.append((8 * near - far) / (12 * float(step[k])))
    return np.array(found)


def agrees(function, at, tolerance=1e-7, step=None):
    at = torch.as_tensor(at, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(function(at), at)
    steps = 1e-3 * at.detach().abs() if step is None else torch.as_tensor(step)
    theirs = differences(function, at.detach(), steps)
    assert np.abs(theirs).max() > 1e-9
    np.testing.assert_allclose(slope.numpy(), theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def numbers(*values, gradient=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=gradient)


@pytest.mark.parametrize(
    ("operator", "options", "stepping", "support"),
    [
        ("fno", {"width": 6, "modes": (3,), "layers": 1}, Autoregressive(history=2), cube(1)),
        ("unet", {"width": 4, "multipliers": (1, 2)}, Window(n_in=2, n_out=2), cube(2, mask=hole())),
        ("fno", {"width": 6, "modes": (3, 3), "layers": 1}, Query(start=True), cube(2, power=1.3)),
        ("deeponet", {"width": 8, "basis": 6, "depth": 2}, Query(start=True), cube(1)),
        ("flare", {"width": 8, "depth": 1, "heads": 2, "latents": 4}, Autoregressive(), triangles()),
        ("meshgraphnet", {"width": 8, "layers": 1, "activation": "gelu"}, Autoregressive(), triangles()),
    ],
)  # fmt: skip
def test_answers_are_those_of_resume_and_derivatives_those_of_differences(operator, options, stepping, support):
    """Of own data, which do not say how a case begins: the frames are given, and differentiated by, too."""
    several = [waves(support, s) for s in SPEEDS]
    model = Surrogate(operator, stepping, **options).fit(several, recipe(8), **FEW).cast("float64")
    case, truth = data.case(data.pack(several[:1], dtype=None), 0)
    first = torch.from_numpy(values(truth)[: model.history])
    at = float(truth.time[model.history - 1])
    times = [at, at + 0.1, at + 0.3]

    def made(u):
        return case.problem.case(speed=u[0]).on(case.support)

    def found(u, begin=first):
        return model.trajectory(made, u, times, frames=begin, begun=at)

    theirs = model.resume(made([0.3]), truth.isel(time=slice(0, model.history)), times)
    ours = found(numbers(0.3))
    assert ours.dtype == torch.float64 and ours.shape == (3, 2, *support.shape)
    np.testing.assert_allclose(ours.numpy(), values(theirs), rtol=0, atol=1e-12)
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal(ours.shape))
    agrees(lambda u: (weight * found(u)).sum(), [0.3])
    # a direction in which the frames change
    way = torch.from_numpy(np.random.default_rng(1).standard_normal(first.shape))
    agrees(lambda s: (weight * found(numbers(0.3), first + s * way)).sum(), [0.1])
    # rows go through the operator as one batch, as each alone
    both = found(numbers(0.25, 0.3).reshape(2, 1))
    assert torch.allclose(both[1], ours, rtol=0, atol=1e-12) and not torch.allclose(both[0], ours, atol=1e-9)
    with pytest.raises(InputError, match="how a case begins"):
        model.trajectory(made, numbers(0.3), times)


def cavity(u):
    """Viscosity, and the speed of the lid at three times."""
    motion = Series(np.array([0.0, 0.5, 1.0]), np.asarray(u[1:]))
    return LidDrivenCavity().case(viscosity=u[0], lid_motion=motion)


@pytest.fixture(scope="module")
def model():
    """Of cavities whose frames are no flow, but made of their numbers: what is tested needs none."""
    grid, times = Grid.uniform(cavity([1e-2, 1, 1, 1]).geometry, (8, 8)), 0.25 * np.arange(5)
    (x, y), random, found = np.moveaxis(grid.points(), -1, 0), np.random.default_rng(0), []
    for _ in range(4):
        case = cavity([10 ** random.uniform(-2.5, -1.5), *random.uniform(0.5, 1.5, 3)])
        lid = np.interp(times, [0.0, 0.5, 1.0], case.lid_motion.values)
        size = (lid * np.tanh(10 * times * case.viscosity**0.5))[:, None, None]
        fields = {"u": size * y * np.sin(np.pi * x), "v": size * x * np.cos(np.pi * y)}
        found.append(data.solution(case, times, {n: (("time", "y", "x"), v) for n, v in fields.items()}, grid))
    return Surrogate("unet", width=4, multipliers=(1, 2)).fit(found, recipe(20, lr=4e-3), **FEW)


U = [1.1e-2, 0.9, 1.2, 0.8]


def test_parameters_and_knots(model):
    """Features, scales and steps between depend on them; in double precision to ten digits."""
    wide, times = model.cast("float64"), [0.25, 1.0]
    theirs = wide.solve(cavity(U), times)
    ours = wide.trajectory(cavity, numbers(*U), times)
    np.testing.assert_allclose(ours[:, 0].numpy(), theirs.u.values, rtol=0, atol=1e-13)
    agrees(lambda u: wide.trajectory(cavity, u, times)[-1, 0, 5, 3], U, 1e-9)
    agrees(lambda u: wide.trajectory(cavity, u, times)[-1].square().mean(), U, 1e-9)
    # in single precision it is the same derivative to single precision
    slopes = []
    for one in (model, wide):
        u = numbers(*U, gradient=True)
        found = one.trajectory(cavity, u, times)
        assert found.dtype == one.encoding.torch_dtype
        slopes.append(torch.autograd.grad(found[-1, 0, 5, 3], u)[0])
    assert slopes[0].dtype == torch.float64
    assert float((slopes[0] - slopes[1]).norm() / slopes[1].norm()) < 1e-4


def test_many_cases_are_one_batch(model):
    wide, times = model.cast("float64"), [0.5]
    rows = numbers(*U).repeat(2, 3, 1) * torch.linspace(1.0, 1.1, 6).reshape(2, 3, 1).double()
    rows.requires_grad_()
    found = wide.trajectory(cavity, rows, times)
    assert found.shape == (2, 3, 1, 2, 8, 8)
    slopes = torch.autograd.grad(found[..., 0, 1, 4, 4].sum(), rows)[0]
    alone = rows[1, 2].detach().requires_grad_()
    slope = torch.autograd.grad(wide.trajectory(cavity, alone, times)[0, 1, 4, 4], alone)[0]
    assert torch.allclose(slopes[1, 2], slope, rtol=1e-9)


def test_cast(model, tmp_path):
    """A copy, that is saved as it is; the model itself stays."""
    wide = model.cast("float64")
    assert model.encoding.dtype == "float32" and wide.encoding.dtype == "float64"
    assert all(p.dtype == torch.float64 for p in wide.operator.parameters() if p.is_floating_point())
    a, b = (m.solve(cavity(U), [1.0]).u.values for m in (model, wide))
    assert a.dtype == np.float32 and b.dtype == np.float64 and np.abs(a - b).max() < 1e-5 * np.abs(b).max()
    wide.save(tmp_path / "wide")
    again = load(tmp_path / "wide")
    assert np.array_equal(again.solve(cavity(U), [1.0]).u.values, b) and again.training["cast"] == "float64"
    assert np.array_equal(wide.cast("float32").solve(cavity(U), [1.0]).u.values, a)
    with pytest.raises(InputError, match="'float32' or 'float64', got 'half'"):
        model.cast("half")


def test_bodies_stay_where_they_are():
    """A radius changes scales and features; cells are in the mask or not. At a radius where a cell comes in within the
    usual differences, narrower ones are taken."""
    problem, times = CylinderFlow(), 0.02 * np.arange(4)

    def cylinder(u):
        return problem.case(radius=u[0], viscosity=u[1])

    grid = Grid.uniform(cylinder([0.01, 1e-3]).geometry, (24, 44), masked=True)
    middles = np.linalg.norm(grid.points(), axis=-1)
    near = middles.ravel()[np.abs(middles - 0.01).argmin()]  # the middle of a cell
    random, found = np.random.default_rng(0), []
    for radius, viscosity in ((0.009, 1e-3), (0.0102, 2e-3), (near * 1.1, 4e-3)):
        case = cylinder([radius, viscosity])
        mask = Grid.uniform(case.geometry, (24, 44), masked=True)
        fields = {n: random.standard_normal((4, 24, 44)) * mask.inside for n in "uv"}
        found.append(data.solution(case, times, {n: (("time", "y", "x"), v) for n, v in fields.items()}, mask))
    model = Surrogate("fno", width=4, modes=(4, 4), layers=1).fit(found, recipe(4), **FEW).cast("float64")

    def asked(u):
        return model.trajectory(cylinder, u, times)[-1].square().mean()

    beside = near * (1 - 5e-4)  # cells come in within a thousandth
    u = numbers(beside, 2e-3, gradient=True)
    (slope,) = torch.autograd.grad(asked(u), u)
    theirs = differences(asked, u.detach(), [1e-5 * beside, 2e-6])
    np.testing.assert_allclose(slope.numpy(), theirs, rtol=1e-6)
    with pytest.raises(InputError, match="entry 0 of u changes 'mask'"):
        u = numbers(near * (1 - 1e-7), 2e-3, gradient=True)
        torch.autograd.grad(asked(u), u)


def test_steady_and_steps_in_time_scales():
    support = cube(2)
    problem = own(2, steady=True)
    several = [waves(support, problem=problem, speed=s, phase=s) for s in SPEEDS]
    model = Surrogate("unet", Steady(), width=4, multipliers=(1, 2)).fit(several, recipe(8), **FEW).cast("float64")

    def made(u):
        return problem.case(speed=u[0]).on(support)

    ours = model.trajectory(made, numbers(0.3))
    theirs = model.solve(made([0.3]))
    np.testing.assert_allclose(ours[0].numpy(), theirs.a.values, rtol=0, atol=1e-13)
    agrees(lambda u: model.trajectory(made, u)[1, 4, 4], [0.3])


def burgers(u):
    return Burgers().case(viscosity=u[0], velocity=u[1])


def test_what_is_no_function_of_numbers_is_refused(model):
    x, found = (np.arange(16) + 0.5) / 16, []
    for velocity in (0.5, 1.0, 2.0):
        case = burgers([0.05, velocity])
        times = np.arange(5) * 0.1 / velocity
        found.append(data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x}))
    scaled = Surrogate(FNO, width=4, modes=(3,), layers=1).fit(found, recipe(4), **FEW)
    assert scaled.encoding.step.kind == "nondimensional"
    u = numbers(0.05, 1.0, gradient=True)
    with pytest.raises(InputError, match="entry 1 of u changes 'step'"):
        torch.autograd.grad(scaled.trajectory(burgers, u, [0.2])[0, 0, 3], u)
    lawful = model.constrained(DivergenceFree())
    for call, words in (
        (lambda: lawful.trajectory(cavity, numbers(*U), [0.5]), "answers that obey DivergenceFree"),
        (lambda: model.trajectory(cavity, U, [0.5]), "numbers: expected a tensor"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.3]), "cannot be reached with the step"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], frames=torch.zeros(1, 3, 8, 8)), "frames: expected"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], frames=torch.zeros(2, 1, 2, 8, 8)), "leading axes"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], sizes=[1.0]), "sizes: expected 4 numbers > 0"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], sizes="a"), "sizes: expected 4 numbers > 0"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], begun=0.05), "begun: 0.05 is the time of frames"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], frames=np.zeros((1, 2, 8, 8))), "expected a tensor"),
        (lambda: model.trajectory(cavity, numbers(*U), [0.5], frames=torch.full((1, 2, 8, 8), np.nan)), "finite"),
        (lambda: model.trajectory(lambda u: u, numbers(*U), [0.5]), "expected a Case"),
        (lambda: Surrogate(FNO).trajectory(cavity, numbers(*U), [0.5]), "has not been trained"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    u = numbers(*U, gradient=True)
    (slope,) = torch.autograd.grad(model.trajectory(cavity, u, [0.5])[0, 0, 3, 3], u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
