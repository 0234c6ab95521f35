"""Somebody's own data on nodes that differ from case to case: steady, in time, moving, with what nodes are of, and with
functions of different lengths at points of their own."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import Delaunay

import sciml
from sciml import data
from sciml.errors import InputError
from sciml.operators import DeepONet
from sciml.problem import InputSpec
from sciml.problems import DataProblem
from sciml.solvers import Surrogate
from sciml.support import Mesh, Points
from sciml.training import Autoregressive, Query, Recipe, Running, Steady, Steps
from sciml.training.encoding.functions import at_sensors, spread

SMALL = {"width": 32, "basis": 16, "depth": 2}


def problem(steady: bool, functions: bool) -> DataProblem:
    inputs = [InputSpec("kind", "1", "coefficient", ("node",))]
    for name in ("wall", "gauge") if functions else ():
        inputs += [InputSpec(name, "K", "boundary", (f"{name}_point",), at=f"{name}_places"),
                   InputSpec(f"{name}_places", "m", "boundary", (f"{name}_point", "coordinate"))]  # fmt: skip
    return DataProblem("own", ["T"], ["level"], 2, steady=steady, inputs=inputs)


def made(number: int, steady: bool, moving: bool, functions: bool):
    """T = (level sin(2x) + kind/2 + mean of what the functions say) e^{−t}, on a mesh of its own."""
    r = np.random.default_rng(number)
    nodes = np.concatenate([r.random((16 + 3 * (number % 5), 2)), [[0, 0], [1, 0], [0, 1], [1, 1.0]]])
    mesh, level, kind = (
        Mesh(nodes, {"triangle": Delaunay(nodes).simplices}),
        1 + 0.1 * number,
        (nodes[:, 0] > 0.5) * 1.0,
    )
    inputs = {"kind": kind}
    for name, count in (("wall", 3 + number % 4), ("gauge", 2 + number % 3)) if functions else ():
        places = r.random((count, 2))
        inputs |= {name: 1 + r.random() + places[:, 0], f"{name}_places": places}
    given = sum(inputs[n].mean() for n in ("wall", "gauge") if n in inputs) / 2
    case = problem(steady, functions).case(level=level, **inputs)
    field = level * np.sin(2 * nodes[:, 0]) + kind / 2 + given
    if steady:
        return data.solution(case.on(mesh), None, {"T": (("node",), field)}, mesh)
    t = np.arange(5) * 0.25
    fields = {"T": (("time", "node"), np.exp(-t)[:, None] * field)}
    if not moving:
        return data.solution(case.on(mesh), t, fields, mesh)
    path = nodes * (1 + 0.1 * t)[:, None, None]
    box = dataclasses.replace(
        case.on(Points(path[0])), extents=((0.0, 1.1), (0.0, 1.1)), parameters=dict(case.parameters),
        inputs=dict(case.inputs),
    )  # fmt: skip
    return data.solution(box, t, fields, {"x": path[..., 0], "y": path[..., 1]})


@pytest.mark.parametrize(
    ("stepping", "moving", "functions"),
    [(Steady(), False, True), (Query(), False, True), (Query(), True, False), (Autoregressive(), False, False),
     (Autoregressive(), True, True)],
)  # fmt: skip
def test_it_trains_on_them_and_answers_a_new_case(tmp_path, stepping, moving, functions):
    steady = stepping == Steady()
    many = [made(k, steady, moving, functions) for k in range(20)]
    where = ["train"] * 20
    where[4] = where[13] = "validation"
    where[9] = "test"
    data.write(data.pack(many, where), tmp_path / "own.h5")
    model = Surrogate(DeepONet, stepping, device="cpu", **SMALL).fit(
        tmp_path / "own.h5", Recipe(length=Steps(200), batch=4), running=Running(progress=False, device="cpu")
    )
    names = [f.name for f in model.encoding.signature().functions]
    assert names == (["state", "wall", "gauge"] if functions else ["state"])
    model.save(tmp_path / "run")
    stored = data.open(tmp_path / "own.h5")
    case, truth = data.case(stored, 9)
    truth = truth.load()
    answers = []
    for one in (model, sciml.load(tmp_path / "run")):
        if steady:
            answers.append(one.solve(case)["T"].values)
        else:
            answers.append(one.resume(case, truth.isel(time=[0]), truth.time.values[1:])["T"].values)
    np.testing.assert_array_equal(*answers)
    expected = truth["T"].values if steady else truth["T"].values[1:]
    assert np.linalg.norm(answers[0] - expected) / np.linalg.norm(expected) < 0.2
    assert any("validation" in record for record in model.metrics)
    if functions:
        with pytest.raises(InputError, match="wall, gauge: expected no inputs at points of their own"):
            model.encoding.physical(model.operator)


def test_values_at_sensors():
    r = np.random.default_rng(0)
    points = r.random((9, 2))
    values = r.random(9)
    np.testing.assert_allclose(at_sensors(values, points, points[::-1]), values[::-1], rtol=1e-12)
    between = at_sensors(values, points, r.random((40, 2)))
    assert values.min() <= between.min() and between.max() <= values.max()
    np.testing.assert_allclose(at_sensors(np.full(9, 3.0), points, r.random((5, 2))), 3.0, rtol=1e-14)
    assert at_sensors(values[:1], points[:1], points).tolist() == [values[0]] * 9
    line = np.linspace(0, 1, 2001)[:, None]
    places = r.random((50, 1))
    np.testing.assert_allclose(at_sensors(np.sin(3 * line[:, 0]), line, places), np.sin(3 * places[:, 0]), atol=1e-3)
    chosen = spread(line, 5)[:, 0]
    assert chosen[0] == 0 and chosen[-1] == 1 and np.diff(chosen).max() < 0.3
