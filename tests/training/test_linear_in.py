"""Answers that are linear in loads, exactly, whatever the operator and however little it was trained."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import sciml
from sciml.contracts import GraphBatch
from sciml.data import pack, solution
from sciml.errors import InputError
from sciml.operators import FNO, DeepONet
from sciml.problem import FieldSpec, InputSpec, ParameterSpec, Scales
from sciml.problems import DataProblem
from sciml.solvers import Surrogate
from sciml.support import Grid, Mesh, Points
from sciml.training import Epochs, Query, Recipe, Running, Steady, Stepping, Steps
from sciml.training.encoding import encoding_for
from sciml.training.encoding.linear import linear_features
from sciml.training.encoding.physical import PhysicalGrid, PhysicalPoints
from sciml.training.samples import features, table

LOADS = ("load_x", "load_y")
RNG = np.random.default_rng(0)
GRID = Grid((np.linspace(0, 2, 7), np.linspace(0, 1, 6)))
NODES = RNG.random((14, 2))
MESH = Mesh(np.array([[0, 0], [1, 0], [1, 1], [0, 1.0], [0.5, 0.5]]),
            {"triangle": np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])})  # fmt: skip


def problem(**more):
    return DataProblem(**({"name": "block", "fields": ["ux", "uy"], "parameters": [*LOADS, "stiffness"],
                           "dimensions": 2, "steady": True} | more))  # fmt: skip


def solved(p, support, load_x, load_y, stiffness=1.0, **inputs):
    """ux = (load_x sin(x + s) + 3 load_y y)/stiffness, uy = load_y cos(y s)/stiffness."""
    x, y = np.moveaxis(support.points(), -1, 0)
    ux = (load_x * np.sin(x + stiffness) + 3 * load_y * y) / stiffness
    values = {"ux": (support.dims, ux), "uy": (support.dims, load_y * np.cos(y * stiffness) / stiffness)}
    return solution(
        p.case(load_x=load_x, load_y=load_y, stiffness=stiffness, **inputs).on(support), None, values, support
    )


def data(p, support, count=8):
    rng = np.random.default_rng(1)
    return pack([solved(p, support, *rng.normal(size=2) * 50, 1 + rng.random()) for _ in range(count)], dtype=None)


def untrained(operator, support, p=None, precision="float64", **options):
    p = problem() if p is None else p
    recipe = Recipe(length=Steps(1), batch=3, precision=precision)
    running = Running(progress=False, device="cpu")
    surrogate = Surrogate(operator, Steady(linear_in=LOADS), device="cpu", **options)
    return surrogate.fit(data(p, support), recipe, split=None, validation=None, running=running)


def answer(surrogate, p, support, *values):
    found = surrogate.solve(p.case(**dict(zip((*LOADS, "stiffness"), values, strict=True))).on(support))
    return np.stack([found["ux"].values, found["uy"].values])


@pytest.mark.parametrize(
    ("operator", "support", "options"),
    [(DeepONet, Points(NODES), {}), (DeepONet, GRID, {}), (FNO, GRID, {"modes": (2, 2), "width": 8})],
    ids=["points", "points of a grid", "grid"],
)
def test_homogeneous_and_additive(operator, support, options):
    """û(a f + b g) = a û(f) + b û(g) with nothing learned, within the training data and far outside."""
    p = problem()
    s = untrained(operator, support, p, **options)
    first, second = (30.0, -20.0), (7.0, 55.0)
    f, g = answer(s, p, support, *first, 1.3), answer(s, p, support, *second, 1.3)
    assert np.abs(f).max() > 1e-3
    for a, b in ((2.0, 0.0), (1.0, 1.0), (-3.0, 0.5), (1000.0, -400.0)):
        load = a * np.array(first) + b * np.array(second)
        expected = a * f + b * g
        np.testing.assert_allclose(
            answer(s, p, support, *load, 1.3), expected, rtol=0, atol=1e-12 * np.abs(expected).max()
        )
    assert not answer(s, p, support, 0.0, 0.0, 1.3).any()
    assert np.abs(answer(s, p, support, *first, 1.8) - f).max() > 1e-6  # of the stiffness it may be anything


class Neighbours(nn.Module):
    """A graph operator that is anything but linear."""

    def __init__(self, channels):
        super().__init__()
        self.inner = nn.Linear(channels, 8)
        self.outer = nn.Linear(8, 2)

    def forward(self, nodes, points, edges, offsets, graph, params, mask=None):
        h = torch.tanh(self.inner(torch.cat([points, params[graph]], 1)))
        passed = h[edges[0]] * torch.cos(offsets.sum(1, keepdim=True))
        return self.outer(torch.tanh(h + torch.zeros_like(h).index_add(0, edges[1], passed)))


@pytest.mark.parametrize("several", [False, True])
def test_graphs(several):
    """On one mesh, and on two of different sizes in one batch."""
    p = problem()
    meshes = [MESH, Points(NODES)] if several else [MESH, MESH]
    known = table(pack([solved(p, m, 3.0, -2.0 + k, 1.2 + k) for k, m in enumerate(meshes)], dtype=None), None)
    e = encoding_for(GraphBatch).fit(known, Steady(LOADS), dtype="float64")
    torch.manual_seed(0)
    operator = Neighbours(5).double()
    given = e.given(known.cases, meshes)

    def at(x, y):
        cases = [p.case(load_x=x, load_y=y, stiffness=1.2 + k) for k in range(2)]
        params = np.concatenate([e.params(c, np.zeros(1)) for c in cases])
        return e.apply(operator, None, given, torch.from_numpy(params), None).detach().numpy()

    one, two, both = at(1.0, 0.0), at(0.0, 1.0), at(-30.0, 7.0)
    assert both.shape == (2, 2, 14 if several else 5)
    np.testing.assert_allclose(both, -30 * one + 7 * two, rtol=0, atol=1e-13 * np.abs(both).max())
    alone = e.given(known.cases[:1], meshes[:1])
    params = torch.from_numpy(e.params(p.case(load_x=-30.0, load_y=7.0, stiffness=1.2), np.zeros(1)))
    found = e.apply(operator, None, alone, params, None).detach().numpy()
    np.testing.assert_allclose(found, both[:1, :, :5], rtol=1e-12, atol=1e-14)


def test_homogeneous_in_single_precision():
    p = problem()
    s = untrained(DeepONet, Points(NODES), p, "float32")
    f = answer(s, p, Points(NODES), 30.0, -20.0, 1.3)
    np.testing.assert_allclose(
        answer(s, p, Points(NODES), -90.0, 60.0, 1.3), -3 * f, rtol=0, atol=1e-6 * np.abs(f).max() * 3
    )


def test_scales():
    """Fields keep their zero although their mean is larger than what they vary by; loads count in units of what is not
    zero; the load that is asked for may be as far from the training data as it wants."""
    p = problem()
    s = pack([solved(p, GRID, 100.0 + k, 0.0 if k else 40.0, 1.0 + 0.1 * k) for k in range(3)], dtype=None)
    fitted = Surrogate(DeepONet, Steady(LOADS), device="cpu").fit(
        s, Recipe(length=Steps(1), batch=3), split=None, validation=None, running=Running(progress=False, device="cpu")
    )
    e = fitted.encoding
    assert (e.state.offset == 0).all() and e.linear == ("parameter_load_x", "parameter_load_y")
    assert e.features.mean[:2].tolist() == [0, 0]
    np.testing.assert_allclose(e.features.std[:2], [np.sqrt((100**2 + 101**2 + 102**2) / 3), 40.0])
    case = p.case(load_x=5000.0, load_y=0.0, stiffness=1.1).on(GRID)
    assert e.doubts(case, np.zeros(1)) == []
    assert "stiffness" in e.doubts(p.case(load_x=1.0, stiffness=3.0).on(GRID), np.zeros(1))[0]


def test_it_learns_what_a_plain_one_cannot_see():
    """Trained on loads of one size, it answers loads of a hundred times that size with the same relative error."""
    p, support = problem(), Points(NODES)
    rng = np.random.default_rng(5)
    angles = rng.random(24) * 2 * np.pi
    train = pack([solved(p, support, np.cos(a), np.sin(a), 1 + rng.random()) for a in angles], dtype=None)
    recipe = Recipe(length=Epochs(150), batch=8, precision="float64")
    running = Running(progress=False, device="cpu")

    def error(stepping):
        s = Surrogate(DeepONet, stepping, device="cpu").fit(train, recipe, split=None, validation=None, running=running)
        found = []
        for size in (1.0, 100.0):
            truth = solved(p, support, 0.6 * size, -0.8 * size, 1.4)
            made = answer(s, p, support, 0.6 * size, -0.8 * size, 1.4)
            exact = np.stack([truth["ux"].values, truth["uy"].values])
            found.append(np.linalg.norm(made - exact) / np.linalg.norm(exact))
        return found

    near, far = error(Steady(LOADS))
    assert near < 0.1 and far == pytest.approx(near, rel=1e-9)
    with pytest.warns(UserWarning, match="beyond the training data"):
        assert error(Steady())[1] > 5 * far


def test_round_trip(tmp_path):
    stepping = Steady(linear_in=LOADS)
    assert Stepping.from_json(json.loads(json.dumps(stepping.to_json()))) == stepping != Steady()
    assert Stepping.from_json({"kind": "Steady"}) == Steady()
    p = problem()
    s = untrained(DeepONet, Points(NODES), p)
    s.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    assert again.encoding.stepping == stepping and again.encoding.linear == s.encoding.linear
    load = (3.0, -1.0, 1.2)
    np.testing.assert_array_equal(answer(again, p, Points(NODES), *load), answer(s, p, Points(NODES), *load))


@pytest.mark.parametrize(("operator", "support"), [(FNO, GRID), (DeepONet, GRID)])
def test_the_module_for_export_is_the_same_sum(operator, support):
    p = problem()
    options = {"modes": (2, 2), "width": 8} if operator is FNO else {}
    s = untrained(operator, support, p, **options)
    e = s.encoding
    module, inputs = e.physical(s.operator)
    assert inputs["params"].holds == e.features.names
    loads = torch.tensor([[30.0, -20.0, 1.3], [500.0, 2.0, 1.6]], dtype=torch.float64)
    if operator is DeepONet:
        assert isinstance(module, PhysicalPoints)
        unit = torch.from_numpy(support.unit().reshape(-1, 2)).expand(2, -1, -1)
        made = module(unit, loads).movedim(2, 1).reshape(2, 2, *support.shape)
    else:
        assert isinstance(module, PhysicalGrid)
        made = module(torch.ones(2, 1, *support.shape, dtype=torch.float64), loads)
    for row, given in zip(made, loads.tolist(), strict=True):
        expected = answer(s, p, support, *given)
        np.testing.assert_allclose(row.detach(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


# -- refusals --------------------------------------------------------------------------------------------------------


class Mixing(DataProblem):
    """A problem whose numbers are not the loads themselves."""

    made = staticmethod(lambda p: {})

    def features(self, case, time, time_step):
        return type(self).made(case.parameters)


class Scaled(DataProblem):
    def scales(self, case):
        return Scales(1.0, 1.0, {"ux": case.load_x, "uy": 1.0})


def refused(p, names=LOADS, low=1.0):
    made = [solved(p, GRID, low * (1.0 + k), 2.0 + 0.5 * k, 1.5) for k in range(3)]
    known = table(pack(made, dtype=None), None)
    for i, case in enumerate(known.cases):
        known.cases[i] = p.case(**case.parameters).on(GRID)
    known.problem = p
    encoding_for(FNO.takes).fit(known, Steady(names))


def test_features_have_to_tell_the_loads(monkeypatch):
    p = Mixing("block", ["ux", "uy"], [*LOADS, "stiffness"], 2, steady=True)
    for made, message in (
        (lambda q: {"stiffness": q["stiffness"]}, "one feature in proportion to load_x, got none"),
        (lambda q: {"a": q["load_x"] + q["load_y"]}, "feature a is not in proportion to load_x"),
        (lambda q: {"a": q["load_x"] ** 2, "b": q["load_y"]}, "feature a is not in proportion to load_x"),
        (lambda q: {"a": q["load_x"], "b": 2 * q["load_x"], "c": q["load_y"]}, "got those of a, b"),
        (lambda q: {"a": q["load_x"] * q["load_y"]}, "a feature for load_x alone, got a, which mixes several"),
    ):
        monkeypatch.setattr(Mixing, "made", staticmethod(made))
        with pytest.raises(InputError, match=message):
            refused(p)
    # in proportion, with another parameter in it: what the operator is given beside it tells that one
    monkeypatch.setattr(Mixing, "made", staticmethod(lambda q: {"a": q["load_x"] / q["stiffness"], "b": q["load_y"],
                                                                "stiffness": q["stiffness"]}))  # fmt: skip
    refused(p)


def test_refusals():
    p = problem()
    with pytest.raises(InputError, match="block has no parameter 'load_z'"):
        refused(p, ("load_x", "load_z"))
    with pytest.raises(InputError, match="each parameter once, got 'load_x' several times"):
        Steady(("load_x", "load_x"))
    with pytest.raises(InputError, match="load_x is zero in all training cases"):
        refused(p, low=0.0)
    with pytest.raises(InputError, match="load_x can be nothing but 1"):
        fixed = problem(parameters=[ParameterSpec("load_x", "N", 1.0, 1.0, 1.0), "load_y", "stiffness"])
        linear_features([fixed.case()], ("load_x",))
    with pytest.raises(InputError, match="stiffness is logarithmic"):
        refused(problem(parameters=[*LOADS, ParameterSpec("stiffness", "Pa", 1.0, logarithmic=True)]), ("stiffness",))
    with pytest.raises(InputError, match="the scales of block's fields change with load_x"):
        refused(Scaled("block", ["ux", "uy"], [*LOADS, "stiffness"], 2, steady=True))
    assert Query().linear == ()


# -- parameters that span decades -------------------------------------------------------------------------------------


def test_logarithmic_parameters():
    spec = ParameterSpec("stiffness", "Pa", 1e6, logarithmic=True)
    assert spec.minimum == 0 and spec.open_minimum and spec.checked("block", 1e-3) == 1e-3
    p = problem(parameters=[*LOADS, spec])
    assert features(p.case(load_x=2.0, stiffness=1e9), np.zeros(1), 0.0) == [
        {"parameter_load_x": 2.0, "parameter_load_y": 0.0, "log10_stiffness": 9.0}
    ]
    for value in (0.0, -1.0):
        with pytest.raises(InputError, match=r"stiffness is .* Pa, expected a value in \(0, inf\)"):
            p.case(stiffness=value)
    with pytest.raises(InputError, match=r"default is 0\.0, expected > 0 if logarithmic"):
        ParameterSpec("stiffness", "Pa", 0.0, logarithmic=True)
    again = DataProblem(**json.loads(p.to_attrs()["problem_json"]))
    assert again.parameters == p.parameters and again.same(p)
    assert '"logarithmic"' not in problem().to_attrs()["problem_json"]  # as files were before there was such a thing
    old = json.loads(problem().to_attrs()["problem_json"])
    assert not any(q.logarithmic for q in DataProblem(**old).parameters)


def test_a_case_with_a_field_input_and_loads():
    """Static fields take any part in the answer that they want; only the loads scale it."""
    p = problem(inputs=[InputSpec("kind", "1", "coefficient", ("node",))], fields=[FieldSpec("ux", "m"), "uy"])
    support = Points(NODES)
    kinds = [RNG.integers(0, 3, 14).astype(float) for _ in range(4)]
    made = pack([solved(p, support, 1.0 + k, 2.0, 1.5, kind=v) for k, v in enumerate(kinds)], dtype=None)
    s = Surrogate(DeepONet, Steady(LOADS), device="cpu").fit(
        made, Recipe(length=Steps(1), batch=2, precision="float64"), split=None, validation=None,
        running=Running(progress=False, device="cpu"),
    )  # fmt: skip

    def at(factor, kind):
        case = p.case(load_x=factor, load_y=-2 * factor, stiffness=1.5, kind=kind).on(support)
        return s.solve(case)["ux"].values

    np.testing.assert_allclose(at(8.0, kinds[0]), 8 * at(1.0, kinds[0]), rtol=1e-12, atol=1e-14)
    assert np.abs(at(1.0, kinds[0]) - at(1.0, kinds[1])).max() > 1e-6
