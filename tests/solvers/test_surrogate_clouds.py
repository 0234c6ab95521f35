"""Surrogates whose operators take clouds: trained on meshes of any size, asked anywhere."""

import numpy as np
import pytest
import torch
import xarray as xr

from sciml import data
from sciml.errors import InputError
from sciml.geometry import Box
from sciml.operators import FLARE, GNOT, GalerkinTransformer, PointTransformer, Transolver
from sciml.problem import InputSpec
from sciml.problems import DataProblem
from sciml.solvers import Surrogate, load
from sciml.support import Grid, Mesh, Points
from sciml.training import Autoregressive, Epochs, Query, Recipe, Running, Subsample, Window

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"width": 16, "depth": 1, "heads": 2, "frequencies": 2}
FEW = {"validation": None, "running": Running(progress=False, device="cpu")}
EVERY = [FLARE, GNOT, Transolver, GalerkinTransformer, PointTransformer]
STEADY = DataProblem(
    "plate", ["T"], ["drive"], 2, steady=True, inputs=[InputSpec("kappa", "1", "coefficient", ("node",))]
)
UNSTEADY = DataProblem("wave", ["u"], ["speed"], 2)


def mesh(count, seed=0):
    """Triangles on the unit square, in rows, with inner nodes that are shaken; count × (count + seed) nodes."""
    r = np.random.default_rng(seed)
    m = count + seed
    x, y = np.meshgrid(np.linspace(0, 1, m), np.linspace(0, 1, count))
    number = np.arange(count * m).reshape(count, m)
    a, b, c, d = (q.reshape(-1) for q in (number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]))
    points = np.stack([x, y], -1)
    points[1:-1, 1:-1] += (r.random((count - 2, m - 2, 2)) - 0.5) * 0.3 / m
    return Mesh(points.reshape(-1, 2), {"triangle": np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])})


def plate(support, drive, phase):
    x, y = support.points().T
    kappa = 1 + 0.5 * np.sin(3 * x + phase)
    case = STEADY.case(drive=drive, kappa=kappa).on(support)
    return data.solution(case, None, {"T": (("node",), drive * np.sin(2 * x) * np.cos(y) / kappa)}, support)


def wave(support, speed, frames=5):
    times = 0.1 * np.arange(frames)
    x, y = support.points().T
    values = np.sin(3 * (x - speed * times[:, None])) * np.cos(2 * y)
    case = UNSTEADY.case(speed=speed).on(support)
    return data.solution(case, times, {"u": (("time", "node"), values)}, support)


PLATES = [plate(mesh(7, k), 0.5 + 0.1 * k, 0.3 * k) for k in range(4)] * 2
WAVES = [wave(mesh(7, k), 0.5 + 0.2 * k) for k in range(4)]


def case_of(solution):
    return data.case(data.pack([solution], dtype=None), 0)[0]


def fitted(cls, made, stepping=None, epochs=1, precision="float64", **more):
    recipe = Recipe(length=Epochs(epochs), batch=4, precision=precision, seed=0, **more)
    return Surrogate(cls, stepping, **SMALL).fit(made, recipe, **FEW)


@pytest.mark.parametrize("cls", [FLARE, GNOT])
def test_it_learns_on_meshes_of_different_sizes_and_answers_anywhere(cls, tmp_path):
    made = [
        plate(mesh(9, k), d, p)
        for k, d, p in zip([0, 1, 2] * 6, np.linspace(0.4, 1, 18), np.arange(18) / 9, strict=True)
    ]
    assert len({m.sizes["node"] for m in made}) == 3
    model = fitted(cls, made, epochs=90, precision="float32")
    truth = plate(mesh(9, 1), 0.73, 0.9)
    case = case_of(truth)
    relative = lambda a, b: float(np.linalg.norm(a - b) / np.linalg.norm(b))  # noqa: E731
    assert relative(model.solve(case)["T"].values, truth["T"].values) < 0.05
    fine = mesh(23)
    exact = plate(fine, 0.73, 0.9)["T"].values
    assert relative(model.solve(case, points=fine.points())["T"].values, exact) < 0.06
    model.save(tmp_path / "run")
    again = load(tmp_path / "run", device="cpu")
    for points in (None, fine.points()):
        np.testing.assert_array_equal(again.solve(case, points=points)["T"], model.solve(case, points=points)["T"])


@pytest.mark.parametrize("cls", EVERY)
def test_steady_answers_do_not_depend_on_what_else_is_asked(cls, monkeypatch):
    model = fitted(cls, PLATES)
    case = case_of(PLATES[1])
    nodes = mesh(7, 1).points()
    own = model.solve(case)["T"].values
    np.testing.assert_allclose(model.solve(case, points=nodes)["T"].values, own, rtol=1e-11, atol=1e-12)
    more = np.concatenate([nodes, np.random.default_rng(0).random((200, 2))])
    every = model.solve(case, points=more)["T"].values
    np.testing.assert_allclose(every[: len(nodes)], own, rtol=1e-11, atol=1e-12)
    monkeypatch.setattr("sciml.solvers.surrogate.AT_ONCE", 37)
    np.testing.assert_allclose(model.solve(case, points=more)["T"].values, every, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("stepping", [Autoregressive(), Window(2, 2), Query()], ids=repr)
@pytest.mark.parametrize("cls", EVERY)
def test_answers_in_time_at_nodes_are_those_of_nodes(cls, stepping):
    model = fitted(cls, WAVES, stepping)
    start, case, times = WAVES[2].isel(time=slice(0, 2)), case_of(WAVES[2]), [0.1, 0.2, 0.4]
    e = model.encoding
    own = model.resume(case, start, times)["u"].values
    begin = model._history(start_of(case, start, e), start)
    nodes = mesh(7, 2).points()
    asked = np.concatenate([nodes, np.random.default_rng(0).random((50, 2))])
    found = model._answer(begin, np.array(times), asked)
    assert found["u"].shape == (3, len(asked)) and isinstance(found, xr.Dataset)
    np.testing.assert_allclose(found["u"].values[:, : len(nodes)], own, rtol=1e-10, atol=1e-11)
    assert np.ptp(found["u"].values[:, len(nodes) :]) > 0


def start_of(case, frame, e):
    from sciml.solvers._frames import start_of as of

    return of(case, frame, e.fields)


@pytest.mark.parametrize("stepping", [None, Autoregressive(), Query()], ids=repr)
def test_within_a_body_there_is_nothing(stepping):
    """Zero, as on the grid itself, however far from zero the field is."""
    mask = np.ones((8, 8))
    mask[2:6, 2:6] = 0
    grid = Grid(Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), (8, 8)).faces, mask=mask)
    p = DataProblem("warm", ["T"], ["level"], 2, steady=stepping is None)
    times, dims = (None, ("y", "x")) if p.steady else (np.arange(4.0), ("time", "y", "x"))
    r, made = np.random.default_rng(0), []
    for k in range(3):
        values = 300 + r.random((8, 8) if p.steady else (4, 8, 8))
        made.append(data.solution(p.case(level=1.0 + k).on(grid), times, {"T": (dims, values)}, grid))
    model = fitted(FLARE, made, stepping)
    case, asked = case_of(made[0]), np.array([[0.5, 0.5], [0.1, 0.1]])
    if p.steady:
        found = model.solve(case, points=asked)["T"].values
    else:
        begin = start_of(case, made[0].isel(time=[0]), model.encoding)
        found = model._answer(begin, np.array([1.0, 2.0]), asked)["T"].values
    assert (found[..., 0] == 0).all() and (np.abs(found[..., 1] - 300) < 30).all()


def test_cases_and_points_that_do_not_fit_are_told():
    model = fitted(FLARE, PLATES)
    solid = Points(np.random.default_rng(0).random((9, 3)))
    with pytest.raises(InputError, match="case: expected a support in 2 dimensions, as in training, got 3"):
        model.solve(STEADY.case(drive=1.0).on(solid))
    with pytest.raises(InputError, match="points: expected at least one point, got none"):
        model.solve(case_of(PLATES[0]), points=np.zeros((0, 2)))


def test_fewer_points_in_training():
    model = fitted(FLARE, PLATES, epochs=2, augmentations=(Subsample(20),))
    assert np.isfinite(model.solve(case_of(PLATES[0]))["T"].values).all()


@pytest.mark.parametrize("cls", EVERY)
def test_forgetting_changes_no_weight(cls):
    weights = []
    for forget in (False, True):
        running = Running(progress=False, device="cpu", forget=forget)
        model = Surrogate(cls, **SMALL).fit(PLATES, Recipe(length=Epochs(2), batch=4), validation=None, running=running)
        assert not model.operator.forgets
        weights.append(model.operator.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def plate_inputs(k, note):
    support, case = mesh(7, k), case_of(PLATES[k])
    features = STEADY.features(case, 0.0, 0.0)
    return {
        "points": support.unit()[None], "values": np.array(case.inputs["kappa"])[None, :, None],
        "params": np.array([[features[n] for n in note["inputs"]["params"]["holds"]]]),
        "weights": support.weights()[None],
    }  # fmt: skip


@pytest.mark.parametrize("cls", EVERY)
def test_export_for_any_number_of_points(cls, tmp_path):
    model = fitted(cls, PLATES, epochs=2)
    note = model.export(tmp_path / "plate.pt2")
    assert all(isinstance(n, list) for n in note["inputs"]["points"]["sizes"][:2])  # batch and points are open
    assert note["inputs"]["values"]["holds"] == ["kappa"]
    program = torch.export.load(tmp_path / "plate.pt2").module()
    for k in (0, 3):
        given = plate_inputs(k, note)
        y = program(**{name: torch.tensor(v, dtype=torch.float64) for name, v in given.items()})
        np.testing.assert_allclose(
            y[0, :, 0].numpy(), model.solve(case_of(PLATES[k]))["T"].values, rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize("stepping", [Autoregressive(), Query()], ids=repr)
def test_export_of_what_changes_in_time(stepping, tmp_path):
    model = fitted(FLARE, WAVES, stepping)
    note = model.export(tmp_path / "wave.pt2")
    program = torch.export.load(tmp_path / "wave.pt2").module()
    support, case, start = mesh(7, 2), case_of(WAVES[2]), WAVES[2].isel(time=[0])
    points = support.unit()
    if stepping.queries:
        points = np.concatenate([points, np.full((support.size, 1), 0.1)], 1)
    features = UNSTEADY.features(case, 0.0, model.encoding.stepping.feature_step(model.encoding.step, case))
    given = {
        "points": points[None], "values": start["u"].values[0][None, :, None], "weights": support.weights()[None],
        "params": np.array([[features[n] for n in note["inputs"]["params"]["holds"]]]),
    }  # fmt: skip
    y = program(**{name: torch.tensor(v, dtype=torch.float64) for name, v in given.items()})
    found = model.resume(case, start, [0.1])["u"].values[0]
    np.testing.assert_allclose(y[0, :, 0].numpy(), found, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_onnx_for_any_number_of_points(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = fitted(FLARE, PLATES, precision="float32")
    note = model.export(tmp_path / "plate.onnx")
    session = runtime.InferenceSession(str(tmp_path / "plate.onnx"))
    for k in (0, 3):
        (y,) = session.run(None, {n: v.astype(np.float32) for n, v in plate_inputs(k, note).items()})
        np.testing.assert_allclose(y[0, :, 0], model.solve(case_of(PLATES[k]))["T"].values, atol=1e-6)


def test_functions_at_any_points_are_not_exported(tmp_path):
    p = DataProblem(
        "sources", ["T"], ["drive"], 2, steady=True,
        inputs=[
            InputSpec("strength", "1", "source", ("source",), at="places"),
            InputSpec("places", "m", "source", ("source", "coordinate")),
        ],
    )  # fmt: skip
    r = np.random.default_rng(0)
    support = mesh(5)
    made = []
    for n in (2, 3, 4, 3):
        case = p.case(drive=1.0, strength=r.random(n), places=r.random((n, 2))).on(support)
        made.append(data.solution(case, None, {"T": (("node",), r.random(support.size))}, support))
    model = fitted(GNOT, made)
    assert model.operator.functions == ((1, 2),) and model.solve(case_of(made[0]))["T"].shape == (25,)
    with pytest.raises(InputError, match="export: strength: expected functions at fixed sensors, got any points"):
        model.export(tmp_path / "a.pt2")
