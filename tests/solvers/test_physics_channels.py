"""The physics channels of a surrogate are the problem's own balances."""

import numpy as np
import pytest
import torch

from sciml import Series
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Constant, Field, Partial, without_gradients
from sciml.geometry import Grid
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, TaylorGreen
from sciml.solvers import Surrogate
from sciml.solvers._physics import COMPRESSION, PhysicsChannels


def expand(channels):
    return COMPRESSION * np.sinh(channels / COMPRESSION)


def channels(problem, cases, states, start, step):
    fields = problem.state_fields
    physics = PhysicsChannels(problem, fields)
    context = np.concatenate([physics.context(c, [start], step) for c in cases])
    assert context.shape == (len(cases), physics.numbers)
    result = physics(torch.tensor(states), torch.tensor(context))
    assert result.shape == (len(cases), physics.count, *states.shape[2:])
    return physics, result.numpy()


def test_tendencies_equal_the_finite_volume_form():
    """Cases of different size, speed and lid in one batch; each is the balance on its own grid without p."""
    problem = LidDrivenCavity()
    cases = [
        problem.case(lid_velocity=2.0, viscosity=0.03, density=1.5, width=0.5, height=0.8),
        problem.case(lid_velocity=-1.0, viscosity=0.01, lid_motion=Series([0.0, 2.0], [0.0, 1.0])),
    ]
    rng = np.random.default_rng(0)
    states = rng.standard_normal((2, 2, 12, 10))
    start, step = 0.3, 0.2
    _, found = channels(problem, cases, states, start, step)
    balance = problem.balances()["momentum"]
    for i, case in enumerate(cases):
        grid = Grid.uniform(case.geometry, (12, 10))
        scale = case.scales
        fields = {n: states[i, k] * scale.fields[n] for k, n in enumerate("uv")} | {"p": np.zeros((12, 10))}
        boundary = problem.boundary_conditions(case)
        lattice = provider.lattice(
            grid, fields, parameters=case.parameters, rates={n: np.zeros((12, 10)) for n in "uvp"},
            boundary={b: {n: c for n, c in cs.items()} for b, cs in boundary.items()}, time=start + step / 2,
        )  # fmt: skip
        rows = lattice.finite_volume(balance)
        storage = case.density * scale.velocity
        got = expand(found[i, 4:])
        inside = (slice(1, -1), slice(1, -1))  # walls: a batch of lids takes their tangential slope from inside
        for k in range(2):
            total = -rows[k] * scale.time / storage
            np.testing.assert_allclose((got[2 * k] + got[2 * k + 1])[inside], total[inside], rtol=1e-9, atol=1e-9)
        dx = np.gradient(states[i, 0], grid.centres[0], axis=1)
        np.testing.assert_allclose(expand(found[i, 0])[:, 2:-2], dx[:, 2:-2] * scale.length / 4, rtol=1e-9, atol=1e-9)


def test_transport_and_diffusion_of_burgers():
    """−∂x(u²/2) and ν ∂xx u of a sine, to the order of the scheme."""
    problem = Burgers()
    case = problem.case(viscosity=0.02, velocity=2.0, length=3.0)
    n = 256
    x = (np.arange(n) + 0.5) / n
    _, found = channels(problem, [case], np.sin(2 * np.pi * x)[None, None], 0.0, 0.1)
    k, unit = 2 * np.pi / case.length, case.scales.time / case.velocity
    u, slope = case.velocity * np.sin(2 * np.pi * x), case.velocity * k * np.cos(2 * np.pi * x)
    np.testing.assert_allclose(expand(found[0, 1]), -u * slope * unit, atol=2e-3)
    np.testing.assert_allclose(expand(found[0, 2]), -case.viscosity * k**2 * u * unit, atol=2e-4)


def test_mirror_image_of_the_cavity():
    """The mirrored state with the mirrored lid gives the mirrored channels, up to the sign of each."""
    problem = LidDrivenCavity()
    case = problem.case(viscosity=0.02)
    rng = np.random.default_rng(1)
    state = rng.standard_normal((1, 2, 8, 8))
    physics, plain = channels(problem, [case], state, 0.0, 0.25)
    mirrored = state[..., ::-1] * np.array([-1.0, 1.0]).reshape(1, 2, 1, 1)
    context = physics.context(case, [0.0], 0.25) * physics.signs("x", ("u",))
    image = physics(torch.tensor(mirrored.copy()), torch.tensor(context)).numpy()
    signs = np.array([1, -1, -1, 1, -1, -1, 1, 1]).reshape(8, 1, 1)  # u_x u_y v_x v_y, then x and y momentum
    np.testing.assert_allclose(image[0][..., ::-1] * signs, plain[0], atol=1e-12)


@pytest.mark.parametrize("problem", [TaylorGreen(), HeatEquation()])
def test_every_transient_problem_has_channels(problem):
    case = problem.case()
    shape = (16,) * problem.dimensions
    state = np.random.default_rng(0).standard_normal((1, len(problem.state_fields), *shape))
    _, found = channels(problem, [case], state, 0.0, 0.1)
    assert np.isfinite(found).all() and (np.abs(found).reshape(found.shape[1], -1).max(1) > 0).any()


def test_steady_problems_have_none():
    with pytest.raises(InputError, match="transient"):
        PhysicsChannels(Darcy(), ("p",))


def test_without_gradients():
    u = Field("u")
    assert without_gradients(u * 2.0 - 3.0 * Partial(u, 0)) == u * 2.0
    assert without_gradients(Partial(u, 0) * u) == Constant(0.0)


def test_a_surrogate_with_physics_survives_the_disk(tmp_path):
    """What it says of a case that it was not trained on comes back to the bit, and is no nonsense."""
    from sciml import data

    length, n = 1.0, 64
    x = (np.arange(n) + 0.5) / n
    solutions = []
    for velocity in np.linspace(0.6, 1.6, 10):
        case = Burgers().case(viscosity=0.01, velocity=float(velocity), length=length)
        times = np.arange(9) * 0.05 * case.scales.time
        solutions.append(data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x}))
    path = tmp_path / "burgers.h5"
    data.write(data.pack(solutions, splits=["test" if i == 4 else "train" for i in range(10)]), path)
    surrogate = Surrogate("fno", physics=True, width=12, modes=(12,), layers=2)
    surrogate.fit(path, steps=150, batch_size=8, lr=4e-3, seed=0, validation=None, progress=False)
    case, truth = data.case(data.open(path), 4)
    got = surrogate.solve(case, truth["time"].values)
    surrogate.save(tmp_path / "run")
    again = Surrogate.load(tmp_path / "run").solve(case, truth["time"].values)
    np.testing.assert_array_equal(again["u"].values, got["u"].values)
    persistence = np.sqrt(np.mean((truth["u"].values[0] - truth["u"].values) ** 2))
    assert np.sqrt(np.mean((got["u"].values - truth["u"].values) ** 2)) < 0.5 * persistence
