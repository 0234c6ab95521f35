"""Residuals of balances over an operator's answers: against the audit's, at their order, through their gradients."""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

from sciml import problems
from sciml._audit.bodies import cut_cells, embedded
from sciml._audit.view import View, fluid_cells
from sciml.boundary import Dirichlet
from sciml.calculus import strong
from sciml.data import solution
from sciml.errors import InputError
from sciml.expressions import Coordinate
from sciml.geometry import Box
from sciml.operators import FNO
from sciml.solvers import Surrogate
from sciml.support import Grid
from sciml.training import (
    Adam,
    Autoregressive,
    Query,
    Recipe,
    Rollout,
    Running,
    Steady,
    Steps,
    Supervised,
    Window,
    WithPhysics,
)
from sciml.training.encoding import GridEncoding
from sciml.training.model import Model
from sciml.training.normalisation import FeatureScaler, FieldScaler
from sciml.training.physics import Equations
from sciml.training.samples import TimeStep

CASES = {
    "burgers": [problems.Burgers().case(viscosity=0.02),
                problems.Burgers().case(viscosity=0.1, length=2.5, velocity=2.0)],
    "heat_equation": [problems.HeatEquation().case(), problems.HeatEquation().case(length=0.7, diffusivity=0.3)],
    "poisson": [problems.Poisson().case(), problems.Poisson().case(amplitude=3.0, wavenumber=2.0)],
    "darcy": [problems.Darcy().case(permeability=np.where(np.arange(192).reshape(12, 16) % 5 > 2, 12.0, 3.0)),
              problems.Darcy().case(source=2.0)],
    "darcy closed": [problems.Darcy("closed").case(pressure_left=2.0, source=0.5)],
    "taylor_green": [problems.TaylorGreen().case(), problems.TaylorGreen().case(viscosity=0.3)],
    "cavity": [problems.LidDrivenCavity().case(), problems.LidDrivenCavity().case(lid_velocity=2.0, width=0.5)],
    "cylinder": [problems.CylinderFlow().case()],
    "tube": [problems.TubeFlow().case(), problems.TubeFlow().case(inlet_velocity=0.3)],
    "dam": [problems.DamFlow().case()],
}  # fmt: skip


def encoding(case, grid, stepping, fields=None, step=1.0):
    """An encoding that leaves normalised values as odd multiples of physical ones."""
    fields = fields or tuple(f.name for f in case.problem.fields)
    n = len(fields)
    scaler = FieldScaler(fields, np.linspace(0.1, 0.2, n), np.linspace(1.5, 2.5, n))
    none = FieldScaler((), np.zeros(0), np.zeros(0))
    return GridEncoding(
        case.problem, fields, stepping, None if case.problem.steady else TimeStep("physical", step), grid, False, True,
        case.mask(grid) is not None, scaler, np.ones((stepping.ahead, n)), none,
        FeatureScaler((), *[np.zeros(0)] * 4), (0.0, 1.0), "float64",
    )  # fmt: skip


def smooth(grid, number, fields, seed=0):
    """(number, field, *shape) of random waves."""
    random = np.random.default_rng(seed)
    points = grid.unit()
    waves = [np.sin(2 * np.pi * (points @ random.integers(1, 3, grid.dimensions)) + random.uniform(0, 6)) + 0.3
             for _ in range(number * len(fields))]  # fmt: skip
    return np.stack(waves).reshape(number, len(fields), *grid.shape)


def shape_of(case):
    return {1: (16,), 2: (12, 16)}[case.problem.dimensions]


@pytest.mark.parametrize("name", CASES)
def test_as_the_audit_computes_it(name):
    """Steps of length 1 from a frame to itself and on: θ = 1 leaves the audit's residual with the rate (u₁ − u₀)/Δt."""
    cases = CASES[name]
    steady = cases[0].problem.steady
    grids = [Grid.uniform(c.geometry, shape_of(c), c.mask(Grid.uniform(c.geometry, shape_of(c))) is not None)
             for c in cases]  # fmt: skip
    cases = [c.on(g) for c, g in zip(cases, grids, strict=True)]
    e = encoding(cases[0], grids[0], Steady() if steady else Autoregressive())
    physical = [smooth(g, 2, e.fields, seed=i) for i, g in enumerate(grids)]
    normalised = torch.stack([
        torch.from_numpy(np.stack([e.normalise(c, f, g) for f in p]))
        for c, g, p in zip(cases, grids, physical, strict=True)
    ])  # fmt: skip
    times = None if steady else np.array([[0.3, 0.8]] * len(cases))
    supplied = Equations(e, implicit=1.0).supplied(cases, times)
    before = None if steady else normalised[:, 0]
    seen = 0
    for group, residuals in supplied.residuals(before, normalised[:, 1:]):
        rows = range(len(cases)) if group.rows is None else group.rows.tolist()
        for row, i in enumerate(rows):
            frames = np.stack([e.restore(cases[i], e.normalise(cases[i], f, grids[i]), grids[i]) for f in physical[i]])
            expected = audited(cases[i], grids[i], frames, None if steady else times[i], e.fields)
            for balance, found in residuals.items():
                inside = group.weights[balance][:, 0].numpy() > 0
                assert (inside == (~np.isnan(expected[balance]))).all() and inside.any()
                got = found[:, row, 0].numpy()
                size = np.abs(expected[balance][inside]).max() + 1
                assert np.abs(got - expected[balance])[inside].max() <= 1e-10 * size
            seen += 1
    assert seen == len(cases)


def audited(case, grid, frames, times, fields):
    """What the audit's lattice says of the last frame, and of what the step stores."""
    steady = times is None
    clock = None if steady else times
    solution = labelled_of(case, grid, frames[1:] if steady else frames, clock, fields)
    if not steady:
        for name in fields:
            solution[f"{name}_tendency"] = 0 * solution[name]
    wet = fluid_cells(solution, case, grid)
    bare = Grid(grid.faces, grid.periodic)
    view = View(solution, case, bare, wet, wet & cut_cells(case, bare, embedded(case, bare)))
    lattices = [view.lattice(k) for k in range(len(view.times))]
    found = {}
    for name, balance in case.problem.balances().items():
        rows = lattices[-1].finite_volume(balance)
        for i, (storage, _, _) in enumerate(balance.components()):
            if storage is not None:
                rows[i] = rows[i] + (lattices[1].cells(storage) - lattices[0].cells(storage)) / np.ptp(times)
        found[name] = np.stack(rows)
    return {n: np.where(view.fluid, v, np.nan) for n, v in found.items()}


def labelled_of(case, grid, frames, times, fields):
    dims = ("x", "y", "z")[: grid.dimensions][::-1]
    coords = {d: c for d, c in zip(dims, reversed(grid.centres), strict=True)}
    if times is not None:
        coords["time"] = times
    lead = () if times is None else ("time",)
    values = {n: ((*lead, *dims), frames[0, k] if times is None else frames[:, k]) for k, n in enumerate(fields)}
    return xr.Dataset(values, coords, attrs=case.to_attrs())


def residual_norm(case, n, times, method="finite_volume", order=2, exact=None):
    """Root mean square residual of the exact solution on n cells, in units of the balance's magnitude."""
    grid = Grid.uniform(case.geometry, (n,) * case.problem.dimensions)
    case = case.on(grid)
    e = encoding(case, grid, Steady() if times is None else Autoregressive())
    found = case.exact(np.zeros(1) if times is None else times, grid.centres)
    frames = np.stack([found[f] for f in e.fields], axis=0 if times is None else 1)
    values = torch.from_numpy(e.normalise(case, frames, grid))
    supplied = Equations(e, method=method, order=order).supplied([case], None if times is None else times[None])
    if times is None:
        return math.sqrt(float(supplied.mean_square(None, values[None, None])))
    return math.sqrt(float(supplied.mean_square(values[None, 0], values[None, 1:2])))


@pytest.mark.parametrize(
    ("case", "step"),
    [
        (problems.Poisson().case(), None),
        (problems.Burgers().case(viscosity=0.05), 0.4),
        (problems.TaylorGreen().case(), 0.8),
        (problems.HeatEquation().case(diffusivity=0.3), 0.2),
    ],
    ids=["poisson", "burgers", "taylor green", "heat"],
)
def test_exact_solutions_meet_it_to_second_order(case, step):
    """Halving cells and steps quarters the residual; beside walls it halves, so that its mean falls by 2^1.5."""
    found = [
        residual_norm(case, n, None if step is None else 0.1 + np.array([0.0, step / n]) * case.scales.time)
        for n in (16, 32, 64)
    ]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(found)]
    assert min(orders) > (1.3 if step is None or case.problem.name == "heat_equation" else 1.8), (found, orders)


def test_spectral_derivatives_leave_the_error_of_the_step_alone():
    """With smooth fields on a torus what is left is O(Δt²), many digits below the second-order differences of space."""
    case = problems.Burgers().case(viscosity=0.1)
    steps = [residual_norm(case, 64, 0.1 + np.array([0.0, dt]), "spectral") for dt in (2e-3, 1e-3)]
    assert steps[0] / steps[1] == pytest.approx(4, rel=0.05)
    assert steps[1] < 0.05 * residual_norm(case, 64, 0.1 + np.array([0.0, 1e-3]))


def test_fourth_order_volumes_are_closer():
    case, times = problems.TaylorGreen().case(), 0.1 + np.array([0.0, 1e-4])
    assert residual_norm(case, 32, times, order=4) < 0.1 * residual_norm(case, 32, times)


def test_share_of_the_new_frame():
    """Steps that halve at a resolution that hides space: θ = 1/2 is of second order in time, θ = 1 of first."""
    case = problems.Burgers().case(viscosity=0.1)

    def found(share, dt):
        grid = Grid.uniform(case.geometry, (64,))
        e = encoding(case.on(grid), grid, Autoregressive())
        times = 0.1 + np.array([0.0, dt])
        values = torch.from_numpy(e.normalise(case, case.exact(times, grid.centres)["u"][:, None], grid))
        supplied = Equations(e, method="spectral", implicit=share).supplied([case.on(grid)], times[None])
        return math.sqrt(float(supplied.mean_square(values[None, 0], values[None, 1:])))

    for share, order in ((0.5, 2), (1.0, 1), (0.0, 1)):
        assert math.log2(found(share, 4e-3) / found(share, 2e-3)) == pytest.approx(order, abs=0.1)


def test_gradients_are_those_of_differences():
    """d/dε of the mean square along a direction, against a central difference, on a torus, with walls and by body."""
    for name in ("burgers", "cavity", "darcy", "cylinder"):
        case = CASES[name][0]
        grid = Grid.uniform(case.geometry, shape_of(case), name == "cylinder")
        case = case.on(grid)
        steady = case.problem.steady
        e = encoding(case, grid, Steady() if steady else Autoregressive())
        frames = torch.from_numpy(smooth(grid, 3, e.fields))
        supplied = Equations(e).supplied([case], None if steady else np.array([[0.1, 0.4]]))
        before = None if steady else frames[None, 0]
        answer, direction = frames[None, None, 1].clone().requires_grad_(), frames[None, None, 2]

        def value(a, supplied=supplied, before=before):
            return supplied.mean_square(before, a)

        (gradient,) = torch.autograd.grad(value(answer), answer)
        assert torch.isfinite(gradient).all()
        with torch.no_grad():
            slope = (value(answer + 1e-5 * direction) - value(answer - 1e-5 * direction)) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-6)


def poissons(number, n=16, seed=0):
    """Cases with a source of a few waves, and their solutions on n² cells, exact."""
    random, found = np.random.default_rng(seed), []
    for _ in range(number):
        grid = Grid.uniform(problems.Poisson().case().geometry, (n, n))
        x, y = grid.centres[0][None, :], grid.centres[1][:, None]
        p, f = np.zeros((n, n)), np.zeros((n, n))
        for i in (1, 2):
            for j in (1, 2):
                a = random.normal() / (i * i + j * j)
                wave = a * np.sin(i * np.pi * x) * np.sin(j * np.pi * y)
                p, f = p + wave, f + np.pi**2 * (i * i + j * j) * wave
        case = problems.Poisson().case(source=f)
        found.append((case, solution(case, None, {"p": p}, grid)))
    return found


def error(surrogate, cases):
    pairs = [(surrogate.solve(case).p.values, truth.p.values) for case, truth in cases]
    return float(np.mean([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]))


@pytest.fixture(scope="module")
def without_data():
    """A small FNO on Poisson's equation: data-free, beside one that has hardly been trained."""
    train, test = poissons(32), poissons(4, seed=1)
    solutions = [solution for _, solution in train]
    quiet = Running(progress=False)

    def fitted(steps):
        recipe = Recipe(Steps(steps), batch=8, objective=WithPhysics(weight=1.0, norm=-2.0), optimiser=Adam(lr=1e-2))
        model = Surrogate(FNO, width=12, modes=(5, 5), layers=2)
        return model.fit(solutions, recipe, validation=None, running=quiet)

    return fitted(1), fitted(150), test


def test_training_without_data_finds_the_solutions(without_data):
    """The balances alone, with the walls that the cases state, are enough."""
    untrained, trained, test = without_data
    assert error(trained, test) < 0.35 < 0.4 * error(untrained, test)


def test_fine_tuning_to_one_case(without_data):
    """Better for that case, and the surrogate itself stays what it is."""
    _, trained, test = without_data
    kept = {k: v.clone() for k, v in trained.operator.state_dict().items()}
    better = trained.fine_tuned(test[0][0], steps=40, lr=2e-3, objective=WithPhysics(norm=-2.0))
    assert error(better, test[:1]) < 0.7 * error(trained, test[:1])
    assert all(torch.equal(v, trained.operator.state_dict()[k]) for k, v in kept.items())
    first, last = better.training["fine_tuned"]["residual"]
    assert last < 0.5 * first


def burgers(number, n=32, frames=6):
    found = []
    for i in range(number):
        case = problems.Burgers().case(viscosity=0.05 + 0.01 * i)
        grid, times = Grid.uniform(case.geometry, (n,)), np.linspace(0, 0.25, frames)
        found.append(labelled_of(case, grid, case.exact(times, grid.centres)["u"][:, None], times, ("u",)))
    return found


@pytest.mark.parametrize("stepping", [Autoregressive(), Autoregressive(strides=2), Window(n_in=2, n_out=2)])
def test_steps_of_every_kind(stepping):
    """Data, rollouts and balances together; the objective is the sum of its parts."""
    data, quiet = burgers(3, frames=9), Running(progress=False)
    objective = WithPhysics(Supervised(), weight=0.2)
    recipe = Recipe(Steps(3), batch=4, objective=objective, precision="float64")
    model = Surrogate(FNO, stepping, width=8, modes=(6,), layers=2).fit(data, recipe, validation=None, running=quiet)
    from sciml.training.batches import MemoryBatches
    from sciml.training.samples import open_data, table

    e = model.encoding
    batches = MemoryBatches(table(open_data(data)[0], "train"), e, horizon=2, batch_size=5)
    batch = next(iter(batches.epoch(0)))
    assert batch.times.shape == (5, 1 + 2 * stepping.ahead)
    assert np.allclose(batch.times[:, 0], batch.start)
    batch = batch.held_to(objective.equations(e).supplied(batch.cases, batch.times))
    predict = Model(model.operator, e)
    state = predict.start(batch)
    first, after = predict(state, batch, 0)
    second, _ = predict(after, batch, 1)
    squares = [batch.equations.mean_square(*predict.frames(s, p), k) for k, (s, p) in
               enumerate([(state, first), (after, second)])]  # fmt: skip
    data_alone = float(Supervised()(predict, batch, 0.0))
    assert float(WithPhysics(Supervised(), weight=0.2)(predict, batch, 0.0)) == pytest.approx(
        data_alone + 0.2 * float(squares[0]), rel=1e-12)  # fmt: skip
    assert float(WithPhysics(weight=3.0)(predict, batch, 0.0)) == pytest.approx(3 * float(squares[0]), rel=1e-12)
    model.operator.requires_grad_(True)
    rolled = WithPhysics(Rollout(steps=2, after=0.0), weight=1.0)(predict, batch, 0.5)
    alone = Rollout(steps=2, after=0.0)(predict, batch, 0.5)
    assert float((rolled - alone).detach()) == pytest.approx(float(sum(squares).detach()) / 2, rel=1e-12)


def test_true_steps_have_a_residual_of_their_discretisation():
    """What the data hold, put in place of an answer, meets the balances far better than no change does."""
    from sciml.training.batches import MemoryBatches
    from sciml.training.samples import open_data, table

    data = table(open_data(burgers(3, n=64, frames=26))[0], "train")
    e = GridEncoding.fit(data, Autoregressive(), dtype="float64")
    batch = next(iter(MemoryBatches(data, e, batch_size=16).epoch(0)))
    supplied = Equations(e).supplied(batch.cases, batch.times)
    true = supplied.mean_square(batch.state[:, -1], batch.target)
    still = supplied.mean_square(batch.state[:, -1], batch.state[:, -1:])
    assert float(true) < 1e-4 * float(still)


def test_fine_tuning_in_time():
    """The residual of the operator's own rollout falls, and so does its error."""
    data, quiet = burgers(3), Running(progress=False)
    recipe = Recipe(Steps(60), batch=4, optimiser=Adam(lr=1e-2))
    model = Surrogate(FNO, width=12, modes=(8,), layers=2).fit(data, recipe, validation=None, running=quiet)
    case, truth = problems.Burgers().case(viscosity=0.055), burgers(1)[0]
    times = truth.time.values[1:]
    exact = case.exact(times, (truth.x.values,))["u"]
    better = model.fine_tuned(case, times, steps=60, lr=2e-3)
    errors = [float(np.linalg.norm(s.solve(case, times).u.values - exact)) for s in (model, better)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_both_transforms_have_the_gradient_of_the_residual(weight):
    """The gradient of weights through differences of the answer is the same by products and by FFT, and counts."""
    grid = Grid.uniform(CASES["burgers"][0].geometry, (32,))
    case = CASES["burgers"][0].on(grid)
    e = encoding(case, grid, Autoregressive())
    frames = torch.from_numpy(smooth(grid, 2, e.fields)).float()
    supplied = Equations(e).supplied([case], np.array([[0.0, 0.1]]))

    def gradient(spectral, weight):
        torch.manual_seed(0)
        model = FNO(1, 1, width=8, modes=(4,), spectral=spectral)
        answer = model(frames[:1])
        residual = supplied.mean_square(frames[None, 0].double(), answer[:, None].double())
        (answer.square().mean().double() + weight * residual).backward()
        return torch.cat([torch.view_as_real(p.grad).flatten() if p.is_complex() else p.grad.flatten()
                          for p in model.parameters()])  # fmt: skip

    products, plain = gradient("matmul", weight), gradient("fft", weight)
    assert torch.allclose(products, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    if weight:
        assert not torch.allclose(products, gradient("matmul", 0.0), rtol=0.1)


def test_recipe_round_trip():
    for objective in (
        WithPhysics(), WithPhysics(weight=2.0),
        WithPhysics(Rollout(steps=2), 0.3, ("continuity",), method="spectral", implicit=1.0, order=4),
    ):  # fmt: skip
        recipe = Recipe(objective=objective)
        assert Recipe.from_toml(recipe.to_toml()) == recipe and Recipe.from_json(recipe.to_json()) == recipe
    changed = Recipe().with_settings(["objective=WithPhysics(Supervised(), weight=0.5)"])
    assert changed.objective == WithPhysics(Supervised(), 0.5)
    for bad in ({"weight": 0.0}, {"weight": -1.0}, {"implicit": 2.0}, {"order": 3}, {"objective": WithPhysics()}):
        with pytest.raises(InputError, match=next(iter(bad))):
            WithPhysics(**bad)


def test_what_cannot_be_is_refused():
    def refused(case, message, stepping=None, fields=None, **options):
        stepping = stepping or Autoregressive()
        grid = Grid.uniform(case.geometry, shape_of(case), True)
        with pytest.raises(InputError, match=message):
            WithPhysics(**options).equations(encoding(case, grid, stepping, fields))

    cavity, heat = CASES["cavity"][0], CASES["heat_equation"][0]
    refused(
        cavity, r"momentum needs p, but the operator answers u, v; take balances=\['continuity'\]", fields=("u", "v")
    )
    refused(cavity, "no balance 'continuty'", balances=("continuty",))
    refused(heat, "periodic on every axis", method="spectral")
    refused(heat, "frame before it", stepping=Query())
    refused(CASES["cylinder"][0], "beside a body do not say what happens on it")
    data, quiet = burgers(2), Running(progress=False)
    recipe = Recipe(Steps(1), objective=WithPhysics())
    with pytest.raises(InputError, match="answers at points"):
        Surrogate("deeponet", Autoregressive()).fit(data, recipe, validation=None, running=quiet)


def test_norms_of_the_residual():
    """A wave of k in the residual counts (1 + L²k²)^s as much, the longest as it is: on a torus and between walls."""
    burgers, poisson = CASES["burgers"][1], CASES["poisson"][0]
    for case, waves in ((burgers, (1, 3)), (poisson, (1, 2))):
        grid = Grid.uniform(case.geometry, (16,) * case.problem.dimensions)
        here, steady = case.on(grid), case.problem.steady
        e = encoding(here, grid, Steady() if steady else Autoregressive())
        found = {}
        for order in (0.0, -1.0, -2.0, 0.5):
            supplied = Equations(e, norm=order).supplied([here], None if steady else np.array([[0.0, 1.0]]))
            group = supplied.groups[0]
            unit = grid.unit()
            for k in waves:
                r = np.prod(np.sin((1 if steady else 2) * np.pi * k * unit), axis=-1)
                weights = group.weights[next(iter(group.weights))][:, None]
                found[order, k] = float(supplied._square(group, torch.from_numpy(r)[None, None, None], weights))
        for k in waves:
            square, longest = (2 * (np.pi * j) ** 2 if steady else (2 * np.pi * j) ** 2 for j in (k, 1))
            for order in (-1.0, -2.0, 0.5):
                assert found[order, k] == pytest.approx(
                    ((1 + square) / (1 + longest)) ** order * found[0.0, k], rel=1e-9
                )


def test_the_longest_wave_of_a_torus_lies_along_its_longest_side():
    """It counts as it does in the mean square; the shorter side's, and the diagonal one, count by their own k."""
    case = problems.TaylorGreen().case()
    grid = Grid.uniform(case.geometry, (12, 16))
    e = encoding(case.on(grid), grid, Autoregressive())
    found = Equations(e, norm=-1.0).supplied([case.on(grid)], np.array([[0.0, 1.0]])).groups[0]
    weights = found.weights["continuity"][:, None]
    lengths = [float(n.flatten()[0]) for n in found.lengths]
    x, y = np.moveaxis(grid.unit(), -1, 0)
    for stretch in (1.0, 2.0):
        sides = [lengths[0], stretch * lengths[1]]  # by axis of the arrays
        group = replace(found, lengths=tuple(torch.full_like(n, s) for n, s in zip(found.lengths, sides, strict=True)))
        longest = 1 + (2 * np.pi / max(sides)) ** 2
        for wave, k in ((np.sin(2 * np.pi * y), (1, 0)), (np.sin(2 * np.pi * x), (0, 1)),
                        (np.sin(2 * np.pi * (x + y)), (1, 1))):  # fmt: skip
            r = torch.from_numpy(wave)[None, None, None]
            share = float(Equations(e, norm=-1.0).supplied([case.on(grid)], np.array([[0.0, 1.0]]))._square(
                group, r, weights))  # fmt: skip
            square = 1 + sum((2 * np.pi * n / side) ** 2 for n, side in zip(k, sides, strict=True))
            assert share == pytest.approx(0.5 * longest / square, rel=1e-9)


class Drift(problems.Advection):
    """Advection on an interval with ends, where nothing is said."""

    name = "drift_between_ends"
    conditions: ClassVar[dict] = {}

    def geometry(self, case):
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case):
        return self.conditions


class Fed(Drift):
    conditions: ClassVar[dict] = {"x_min": {"u": Dirichlet(0.0)}}


def test_without_data_conditions_have_to_determine_the_solution():
    """As a PINN asks for: WithPhysics alone (which is what fine tuning is), and cases without solutions."""
    from sciml.training.physics import Unlabelled

    steps = np.array([[0.0, 0.1]])
    for problem in (Drift(), Fed()):
        case = problem.case()
        grid = Grid.uniform(case.geometry, (16,))
        here = case.on(grid)
        e = encoding(here, grid, Autoregressive())
        with_data = WithPhysics(Supervised()).equations(e)
        alone = WithPhysics().equations(e)
        with_data.supplied([here], steps)
        if isinstance(problem, Fed):
            alone.supplied([here], steps)
            with_data.require(here)
            continue
        with pytest.raises(InputError, match="'u' is carried along x, but has no condition at either end"):
            alone.supplied([here], steps)
        with pytest.raises(InputError, match="'u' is carried along x, but has no condition at either end"):
            Unlabelled([here], None, e, with_data)  # type: ignore[arg-type]


def test_sizes_of_balances_are_those_of_the_rows_of_a_pinn():
    """One function: the sum of terms here, the largest of them there; heat, with storage ρ and source s."""
    from sciml._magnitudes import magnitude
    from sciml.training.physics.magnitudes import magnitudes

    case = CASES["heat_equation"][1]
    (balance,) = case.problem.balances().values()
    size = case.scales.fields["T"]
    terms = size / case.scales.time, 0.3 * size / case.scales.length**2
    assert magnitudes(balance, case, {}) == pytest.approx([sum(terms)], rel=1e-12)
    (row,) = strong(balance)
    assert magnitude(case, row) == pytest.approx(max(terms), rel=1e-12)
    assert magnitude(case, row, operator.add) == pytest.approx(sum(terms), rel=1e-12)
    x = Coordinate(0)
    assert magnitude(case, x) == 0.7 and magnitude(case, x * 0.0) == 0.0
    darcy = CASES["darcy"][0]
    (balance,) = darcy.problem.balances().values()
    rms = {n: float(np.sqrt(np.mean(np.square(darcy.inputs[n])))) for n in ("permeability",)}
    assert magnitudes(balance, darcy, rms) == pytest.approx(magnitudes(balance, darcy, {}), rel=1e-12)


def test_cases_without_solutions():
    """Two solved cases and thirty that nobody has solved do better than the two; a step from any of the model's own
    is what counts in time; equal runs have equal batches."""
    from sciml.training.physics import Unlabelled
    from sciml.training.samples import open_data, table

    train, test, quiet = poissons(32), poissons(4, seed=1), Running(progress=False)

    def fitted(objective, cases=()):
        recipe = Recipe(Steps(100), batch=8, objective=objective, optimiser=Adam(lr=1e-2))
        model = Surrogate(FNO, width=12, modes=(5, 5), layers=2)
        return model.fit([s for _, s in train[:2]], recipe, validation=None, running=quiet, cases=cases)

    with_them = fitted(WithPhysics(Supervised(), 10.0, norm=-2.0), [c for c, _ in train[2:]])
    assert error(with_them, test) < 0.6 * error(fitted(Supervised()), test)
    assert with_them.training["unlabelled"] == 30
    with pytest.raises(InputError, match="only WithPhysics has a use for them"):
        fitted(Supervised(), [train[2][0]])
    with pytest.raises(InputError, match="expected cases of poisson"):
        fitted(WithPhysics(), [CASES["burgers"][0]])

    data = burgers(2)
    split = table(open_data(data)[0], "train")
    e = GridEncoding.fit(split, Autoregressive(), dtype="float64")
    cases = [problems.Burgers().case(viscosity=v) for v in (0.06, 0.07, 0.08)]
    others = Unlabelled(cases, split, e, Equations(e), seed=3, size=2)
    batches = [others.batch(0, i) for i in range(40)]
    steps = [b.params.shape[1] for b in batches]
    assert set(steps) == {1, 2, 3, 4, 5} and all(len(b.cases) == 2 for b in batches)
    for k, (b, n) in enumerate(zip(batches, steps, strict=True)):
        assert np.allclose(b.times, 0.05 * (n - 1 + np.arange(2)))
        again = others.batch(0, k)
        assert torch.equal(again.params, b.params) and torch.equal(again.state, b.state)
    start = e.restore(cases[0], batches[0].state[0, 0].numpy(), e.support(cases[0]))
    assert np.allclose(start[0], np.sin(2 * np.pi * e.support(cases[0]).centres[0]), atol=1e-12)
