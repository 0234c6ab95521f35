"""Floors: regressions that are exact where they should be, choose by leave-one-out, and live in directories."""

import warnings

import numpy as np
import pytest
import xarray as xr
from _made import cube, triangles

from sciml import data
from sciml.errors import InputError
from sciml.evaluation import evaluate
from sciml.problems import DataProblem
from sciml.solvers import (
    LinearRegression,
    MeanField,
    NearestCase,
    ParameterInterpolation,
    Persistence,
    PODRegression,
    load,
)
from sciml.solvers.regression import _Kernel
from sciml.support import Mesh, Points

TIMES = np.array([0.0, 0.5, 1.0, 2.0])
ALL = (MeanField, NearestCase, LinearRegression, PODRegression, ParameterInterpolation)


def problem(steady, parameters=("p", "q")):
    return DataProblem("made", ["a", "b"], list(parameters), 2, steady=steady)


def field(support, p, q, t, law):
    x, y = np.moveaxis(support.unit(), -1, 0)
    one, two, three = np.sin(3 * x) + t * y, np.cos(2 * y - t), x * y + 0.1 * t
    c = law(p, q)
    return np.stack([1 + c[0] * one + c[1] * two, 5 - c[1] * three + c[2] * one])


def made(count, law, steady=True, supports=None, seed=0):
    """Fields in a space of few modes, with coefficients that obey a law of the parameters."""
    rng, found = np.random.default_rng(seed), []
    for i in range(count):
        support = triangles() if supports is None else supports(i)
        p, q = rng.uniform(0.5, 2, 2)
        case = problem(steady).case(p=p, q=q).on(support)
        if steady:
            values = field(support, p, q, 0.0, law)
        else:
            values = np.stack([field(support, p, q, t, law) for t in TIMES], axis=1)
        dims = support.dims if steady else ("time", *support.dims)
        fields = {"a": (dims, values[0]), "b": (dims, values[1])}
        found.append(data.solution(case, None if steady else TIMES, fields, support))
    return data.pack(found, dtype=None)


def linear(p, q):
    return 1 + p - 2 * q, 0.5 * q + 3 * p, p


def quadratic(p, q):
    return p * q, q**2 - p, p**2


def error(solver, packed):
    found = []
    for i in range(packed.sizes["case"]):
        case, truth = data.case(packed, i)
        got = solver.solve(case) if case.problem.steady else solver.solve(case, truth.time.values)
        found.append(max(np.abs(got[n].values - truth[n].values).max() for n in ("a", "b")))
    return max(found)


@pytest.mark.parametrize("steady", [True, False], ids=["steady", "in time"])
def test_linear_laws_are_found_exactly(steady):
    train, held = made(8, linear, steady), made(4, linear, steady, seed=1)
    for kind in (LinearRegression, PODRegression):
        assert error(kind().fit(train, split=None), held) < 2e-5, kind  # answers are in single precision
    assert error(MeanField().fit(train, split=None), held) > 0.5


def test_quadratic_laws_need_quadratic_terms():
    train, held = made(30, quadratic), made(4, quadratic, seed=1)
    model = PODRegression().fit(train, split=None)
    assert model.settings["degree"] == 2 and not model.settings["logarithmic"] and model.rank <= 3
    assert error(model, held) < 1e-4 and error(LinearRegression().fit(train, split=None), held) > 0.05
    powers = made(30, lambda p, q: (np.log(p), np.log(q), np.log(p / q)))
    model = PODRegression().fit(powers, split=None)
    assert model.settings["logarithmic"] and model.settings["degree"] == 1


def test_answers_that_are_linear_in_some_parameters(tmp_path):
    """Fields p·c₁(q) + r·c₂(q): found with a polynomial of q alone, exactly linear and zero at rest; save and load."""
    family = problem(True, ("p", "r", "q"))

    def cases(count, seed):
        rng, found = np.random.default_rng(seed), []
        support = triangles()
        for _ in range(count):
            p, r, q = rng.uniform([-1, -1, 0.5], [1, 1, 2])
            first, second = field(support, q, q**2, 0.0, quadratic), field(support, q**2, 1.0, 0.0, linear)
            values = p * first + r * second
            fields = {"a": (support.dims, values[0]), "b": (support.dims, values[1])}
            found.append(data.solution(family.case(p=p, r=r, q=q).on(support), None, fields, support))
        return data.pack(found, dtype=None)

    train, held = cases(40, 0), cases(5, 1)
    model = PODRegression(linear_in=("p", "r")).fit(train, split=None)
    assert error(model, held) < 1e-3 * error(PODRegression().fit(train, split=None), held)
    one, other, both, none = (
        model.solve(family.case(p=p, r=r, q=1.2)).a.values for p, r in ((1, 0), (0, -2), (3, -2), (0, 0))
    )
    np.testing.assert_allclose(both, 3 * one + other, atol=1e-5)
    assert not none.any()
    model.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert back.settings == model.settings and back.settings["linear_in"] == ["p", "r"]
    assert error(back, held) < 1e-3
    alone = PODRegression(linear_in=("p", "r", "q")).fit(train, split=None)  # nothing else varies
    assert alone.rank >= 1
    for names, message in ((("s",), "made has no parameter 's'"), (("p", "p"), "each parameter once")):
        with pytest.raises(InputError, match=message):
            PODRegression(linear_in=names).fit(train, split=None)
    with pytest.raises(InputError, match="changes in time"):
        PODRegression(linear_in=("p",)).fit(made(6, linear, False), split=None)


def test_nodes_that_move_go_by_their_number():
    def stretched(i):
        base = triangles()
        return Mesh(base.points() * [1 + 0.1 * (i % 4), 1.0], base.cells)

    train, held = made(12, linear, supports=stretched), made(4, linear, supports=stretched, seed=1)
    assert error(LinearRegression().fit(train, split=None), held) < 2e-5
    assert error(PODRegression().fit(train, split=None), held) < 2e-5


def test_meshes_that_differ():
    """The mean field goes by shares of the extents; regressions refuse."""
    train = made(6, linear, supports=lambda i: triangles(5, i))  # of one number of nodes, joined alike, moved
    assert LinearRegression().fit(train, split=None).fitted
    train = made(6, linear, supports=lambda i: triangles(4 + i % 3))
    for kind in (NearestCase, LinearRegression, PODRegression):
        with pytest.raises(InputError, match="meshes of the training cases differ, expected one mesh"):
            kind().fit(train, split=None)
    constant = made(6, lambda p, q: (0, 0, 0), supports=lambda i: stretch(triangles(4 + i % 3), 1 + i))
    mean = MeanField().fit(constant, split=None)
    assert mean.layout.mixed and error(mean, constant) < 1e-6
    flipped = triangles()
    other = Mesh(flipped.points(), {"triangle": flipped.cells["triangle"][::-1]})
    assert MeanField().fit(made(2, linear, supports=lambda i: (flipped, other)[i]), split=None).layout.mixed


def stretch(mesh, factor):
    return Mesh(mesh.points() * factor, mesh.cells)


def test_the_mean_field_of_stretched_meshes_stretches_with_them():
    """û = ξ, the share of the extent, on meshes of other sizes and other numbers of nodes."""
    family, found = DataProblem("made", ["a"], ["p"], 2, steady=True), []
    for i in range(5):
        support = stretch(triangles(4 + i % 3, i), 1.0 + i)
        case = family.case(p=float(i)).on(support)
        found.append(data.solution(case, None, {"a": (("node",), support.unit()[:, 0])}, support))
    packed = data.pack(found, dtype=None)
    mean = MeanField().fit(packed, split=None)
    for i in range(5):
        case, truth = data.case(packed, i)
        np.testing.assert_allclose(mean.solve(case).a.values, truth.a.values, atol=0.05)


def test_nearest_case():
    train = made(20, quadratic)
    model = NearestCase().fit(train, split=None)
    assert error(model, train) < 1e-5
    raw = np.stack([[data.case(train, i)[0].p, data.case(train, i)[0].q] for i in range(20)])
    z = (raw - raw.mean(0)) / raw.std(0)
    near = np.argmin((((np.array([1.0, 1.0]) - raw.mean(0)) / raw.std(0) - z) ** 2).sum(1))
    found = model.solve(problem(True).case(p=1.0, q=1.0))
    np.testing.assert_allclose(found.a.values, data.case(train, int(near))[1].a.values, rtol=1e-6)


def test_leave_one_out_in_closed_form():
    """What is minimised is the error of really leaving each case out, modes given."""
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 2, (12, 2))
    model = PODRegression()
    model.centre, model.spread = raw.mean(0), raw.std(0)
    values = np.stack([np.sin(3 * raw[:, 0]) + raw[:, 1], np.exp(-raw[:, 1])], axis=1)
    values -= values.mean(0)
    for kernel in (_Kernel(2), _Kernel(0, 1.0), _Kernel(1)):
        model._kernels = lambda raw, kernel=kernel: [kernel]
        model.RIDGES = (1e-4,)
        model._choose(raw, values)
        z = (raw - raw.mean(0)) / raw.std(0)
        missed = []
        for i in range(12):
            rest = np.arange(12) != i
            whole = model._gram(kernel, model.z, model.z) if kernel.degree else kernel.matrix(z, z)
            ridge = 1e-4 * np.trace(whole) / 12
            if kernel.degree:  # an intercept that is not shrunk
                whole = np.block([[whole[np.ix_(rest, rest)] + ridge * np.eye(11), np.ones((11, 1))],
                                  [np.ones((1, 11)), np.zeros((1, 1))]])  # fmt: skip
                solved = np.linalg.solve(whole, np.append(values[rest], np.zeros((1, 2)), axis=0))
                gram = model._gram(kernel, model.z, model.z)
                missed.append(values[i] - gram[i, rest] @ solved[:-1] - solved[-1])
            else:
                solved = np.linalg.solve(whole[np.ix_(rest, rest)] + ridge * np.eye(11), values[rest])
                missed.append(values[i] - whole[i, rest] @ solved)
        energy = (values**2).sum(0)
        each = (np.array(missed) ** 2).sum(0)
        expected = min(energy.sum() - energy[:r].sum() + each[:r].sum() for r in (1, 2))
        assert model.error == pytest.approx(np.sqrt(expected / energy.sum()), rel=2e-3)


@pytest.mark.parametrize("kind", [*ALL, Persistence])
def test_save_and_load(kind, tmp_path):
    steady = kind is not Persistence
    train = made(12, quadratic, steady)
    model = kind().fit(train, split=None)
    model.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert type(back) is kind and back.predicted == ("a", "b") and back.problem.same(model.problem)
    case, truth = data.case(train, 3)
    if steady:
        xr.testing.assert_allclose(back.solve(case), model.solve(case), rtol=1e-6)  # sums in another order
        points = case.support.points()[:4] + 0.01
        xr.testing.assert_allclose(back.solve(case, points=points), model.solve(case, points=points), rtol=1e-6)
    else:
        xr.testing.assert_identical(*(m.resume(case, truth.isel(time=[0]), TIMES[1:]) for m in (back, model)))
    other = made(6, linear, False)
    model = kind().fit(other, split=None)
    model.save(tmp_path / "run")
    case, truth = data.case(other, 3)
    answers = (m.resume(case, truth.isel(time=[0]), TIMES[1:]) for m in (load(tmp_path / "run"), model))
    xr.testing.assert_allclose(*answers, rtol=1e-6)
    (tmp_path / "run" / "learned.safetensors").unlink()
    with pytest.raises(InputError, match=r"learned\.safetensors"):
        load(tmp_path / "run")


def test_as_rows_of_a_comparison():
    packed = made(20, quadratic, False)
    packed["split"] = data.pack(
        [data.case(packed, i)[1] for i in range(20)], splits=["train"] * 15 + ["test"] * 5, dtype=None
    )["split"]
    rows = [kind().fit(packed) for kind in (Persistence, NearestCase, LinearRegression, PODRegression)]
    found = evaluate(rows[-1], packed, steps=3, starts=["0"], baselines=rows[:-1])
    nmse = {r["name"]: r["rollout"]["all"]["joint"]["nmse"]["mean"][-1] for r in found.summary["rows"]}
    assert list(nmse) == ["persistence", "nearest case", "linear regression", "POD regression"]
    assert nmse["POD regression"] < 1e-8 < nmse["linear regression"] < nmse["nearest case"]


def test_errors():
    alone = data.pack([data.case(made(4, linear), 0)[1]] * 3, dtype=None)
    with pytest.raises(InputError, match="do not differ in any feature of made"):
        LinearRegression().fit(alone, split=None)
    with pytest.raises(InputError, match="has seen no data"):
        PODRegression().solve(problem(True).case(p=1.0, q=1.0).on(triangles()))
    grid = made(6, linear, supports=lambda i: cube(2, 5))
    assert error(LinearRegression().fit(grid, split=None), grid) < 2e-5
    cloud = Points(np.random.default_rng(0).random((30, 2)))
    loose = made(6, linear, supports=lambda i: cloud)
    assert error(LinearRegression().fit(loose, split=None), loose) < 2e-5


@pytest.mark.parametrize("kind", ALL[1:])
def test_what_training_never_saw_is_warned_of(kind, tmp_path):
    train = made(12, quadratic, steady=False)
    model = kind().fit(train, split=None)
    model.save(tmp_path / "run")
    case, truth = data.case(train, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.resume(case, truth.isel(time=[0]), TIMES[1:])
    far = case.problem.case(p=30.0, q=case.q).on(case.support)
    for one in (model, load(tmp_path / "run")):
        with pytest.warns(UserWarning, match=r"p is 30, beyond the training data's .* do not rely on") as caught:
            one.resume(far, truth.isel(time=[0]), TIMES[1:])
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="goes on to .* but training cases end at"):
            one.resume(case, truth.isel(time=[0]), TIMES[1:] * 3)


def test_cases_that_do_not_differ_have_no_modes():
    same = made(6, lambda p, q: (0 * p, 0 * p, 0 * p), steady=True)
    with pytest.raises(InputError, match="POD regression: the training cases have all the same fields"):
        PODRegression().fit(same, split=None)
    with pytest.raises(InputError, match="linear_in: expected a sequence of names of parameters, got the text 'p'"):
        PODRegression(linear_in="p")
