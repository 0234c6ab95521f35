"""An exported file answers as the surrogate that it was made from, for other batches, grids and numbers of points."""

import io
import json
from contextlib import nullcontext
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from _made import FEW, SPEEDS, recipe, waves
from onnxruntime import InferenceSession
from test_surrogate_supports import Messages

from sciml import data
from sciml.errors import InputError
from sciml.operators import FNO, DeepONet, UNet
from sciml.problems import Burgers, Darcy
from sciml.solver import Start
from sciml.solvers import Surrogate, _export
from sciml.support import Grid
from sciml.training import Autoregressive, Query, Window
from sciml.training.samples import feature_table

pytestmark = pytest.mark.usefixtures("one_thread")
EPS = float(torch.finfo(torch.float32).eps)
NOW = 2  # the frame that goes in last
HALF = {"width": 4, "patch": 2, "multipliers": (1, 2)}
DEEP = {"width": 16, "basis": 8, "depth": 2}


def several(make):
    return lambda n, count=3: [make(n, i) for i in range(count)]


def boxes(d, power=1.0, masked=False):
    """Waves on n cells of the first axis, and more on the others."""

    def make(n, i):
        faces = tuple(np.linspace(0, 1, n + 2 * k + 1) ** power for k in range(d))
        mask = np.ones(tuple(len(f) - 1 for f in reversed(faces)))
        mask[(slice(2, 4),) * d] = 0
        return waves(Grid(faces, (False,) * d, mask if masked else None), speed=SPEEDS[i % 3] + 0.01 * i, phase=i)

    return several(make)


@several
def burgers(n, i):
    """Cases of different units, domains and Reynolds numbers, on a wind: the mean exceeds what varies."""
    velocity, length = 0.5 * 2**i, 2.0 - 0.3 * i
    case = Burgers().case(viscosity=velocity * length / 10 ** (1 + 0.3 * i), velocity=velocity, length=length)
    x, t = (np.arange(n) + 0.5) * length / n, np.arange(6) * 0.05 * case.scales.time
    return data.solution(case, t, {"u": (("time", "x"), case.exact(t, (x,))["u"] + 2 * velocity)}, {"x": x})


@several
def steady(n, i):
    """Any permeability and any pressure."""
    rng = np.random.default_rng(i)
    case = Darcy().case(permeability=np.exp(rng.standard_normal((n, n))))
    grid = Grid.uniform(case.geometry, n)
    return data.solution(case, None, {"p": (("y", "x"), rng.standard_normal((n, n)))}, grid)


KINDS = {
    "line": (FNO, Autoregressive(history=2), {"width": 6, "modes": (3,), "layers": 2}, burgers, (16, 9)),
    "plane": (FNO, Query(start=True), {"width": 6, "modes": (3, 3), "layers": 1}, boxes(2, 1.5, True), (8, 13)),
    "space": (FNO, Window(2, 2), {"width": 4, "modes": (2, 2, 2), "padding": 0.25, "layers": 1}, boxes(3), (6, 9)),
    "static": (FNO, None, {"width": 6, "modes": (4, 4), "layers": 1, "spectral": "fft"}, steady, (16, 21)),
    "patches": (FNO, Query(start=False), {"width": 6, "modes": (2,), "patch": 2, "layers": 1}, boxes(1), (10, 13)),
    "unet": (UNet, Window(1, 2, increments=False), HALF, boxes(2, masked=True), (8, 9)),
    "around": (UNet, Autoregressive(), {"width": 4, "boundary": "circular", "multipliers": (1, 2)}, boxes(1), (8, 13)),
    "points": (DeepONet, Query(start=True), DEEP, boxes(2), (8, 11)),
    "stepped": (DeepONet, Autoregressive(), DEEP | {"frequencies": 2}, burgers, (16, 20)),
    "still": (DeepONet, None, DEEP, steady, (8, 11)),
}  # fmt: skip


@cache
def exported(name):
    """(model, its data, what its files say, the program as bytes, the ONNX model as bytes); traced once for both."""
    operator, stepping, options, make, sizes = KINDS[name]
    model = Surrogate(operator, stepping, **options).fit(make(sizes[0]), recipe(5, lr=1e-2), **FEW)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        trace, done = _export._traced, {}
        patch.setattr(_export, "_traced", lambda m, i, free: done.get(free) or done.setdefault(free, trace(m, i, free)))
        files = [Path(folder) / f"model.{suffix}" for suffix in ("onnx", "pt2")]
        one, other = map(model.export, files)
        assert one == other
        return model, make, one, *(f.read_bytes() for f in files)


def asked(model, solutions):
    """(inputs of the file, answers of the surrogate) for these solutions, all in physical units."""
    e = model.encoding
    past, given, answers = e.stepping.past if e.sees_start else 0, [], []
    for m in solutions:
        case = data.case(data.pack([m], dtype=None), 0)[0]
        support, space = case.support, case.support.shape
        values = np.stack([m[f].values for f in e.fields], 0 if e.problem.steady else 1)
        times = np.zeros(NOW + 1) if e.problem.steady else m.time.values
        now = 0 if e.stepping.queries else NOW
        frames = values[now + 1 - past : now + 1].reshape(-1, *space)
        statics = [case.input_on(n, support) for n in e.static.names]
        fields = np.concatenate([frames, np.reshape(statics, (-1, *space))])
        one = {"scales": [case.scales.fields.get(f, 1.0) for f in e.fields]} if e.problem.scaled else {}
        features = feature_table(case, times[now : now + 1], e.stepping.feature_step(e.step, case), e.features.names)
        wanted = [times[-1] - times[0]] if e.stepping.queries else []
        if e.step is not None and e.step.kind == "nondimensional":
            wanted = [t / case.scales.time for t in wanted]
        if e.flat:
            places = support.unit().reshape(-1, support.dimensions)
            one["points"] = np.concatenate([places, np.tile(wanted, (len(places), 1))], 1)
            low, high = np.array(support.extents).T
            if len(fields):
                one["functions"] = support.sample(fields, low + e.sensors * (high - low)).T
            if e.stepping.residual:
                one["last"] = frames[-len(e.fields) :].reshape(len(e.fields), -1).T
            one["params"] = features[0]
        else:
            one["x"] = fields if len(fields) else np.ones((1, *space))
            one["params"] = np.append(features[0], wanted)
            if support.inside is not None:
                one["mask"] = support.inside[None]
            if not support.uniform_cells:
                one["coords"] = np.moveaxis(support.unit()[..., ::-1], -1, 0)
        given.append({k: v for k, v in one.items() if np.size(v)})
        if e.problem.steady:
            answer = np.stack([model.solve(case)[f].values for f in e.fields])
        else:
            start = Start(case, support, values[now + 1 - max(past, 1) : now + 1], float(times[now]))
            count = e.stepping.ahead
            then = times[-1:] if e.stepping.queries else times[now] + e.step.of(case) * np.arange(1, count + 1)
            answer = np.concatenate([f[0] for f in model.rollout([start], then[None])])
        answers.append(answer.reshape(len(answer), -1).T if e.flat else answer)
    inputs = {k: torch.tensor(np.stack([g[k] for g in given]), dtype=torch.float32) for k in given[0]}
    return inputs, np.stack(answers)


def close(found, expected):
    """To float32 rounding: a few dozen sums of a few dozen terms stand between."""
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 16 * EPS * np.linalg.norm(expected)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_answers_as_the_surrogate(name):
    model, make, note, graph, stored = exported(name)
    extra = {_export.NOTE: ""}
    program = torch.export.load(io.BytesIO(stored), extra_files=extra).module()
    session = InferenceSession(graph)
    told = session.get_modelmeta().custom_metadata_map[_export.NOTE]
    assert json.loads(extra[_export.NOTE]) == json.loads(told) == note
    assert [o.name for o in session.get_outputs()] == ["y"]
    for n, count in product(KINDS[name][-1], (1, 3, 2)):
        inputs, expected = asked(model, make(n, count))
        assert set(inputs) == set(note["inputs"]) == {i.name for i in session.get_inputs()}
        for key, value in note["inputs"].items():
            for size, got in zip(value["sizes"], inputs[key].shape, strict=True):
                assert got == size if isinstance(size, int) else size[0] <= got <= (size[1] or got)
        with torch.no_grad():
            close(program(**inputs).numpy(), expected)
        close(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0], expected)
    told_apart = {"params"} if model.encoding.features.std.any() or model.encoding.stepping.queries else set()
    for key in inputs.keys() & ({"x", "last", "functions", "points"} | told_apart):  # and what goes in matters
        moved = {k: v * 1.1 + 0.1 if k == key else v for k, v in inputs.items()}
        with torch.no_grad():
            change = np.linalg.norm(program(**moved).numpy() - expected)
        assert change > 10 * 16 * EPS * np.linalg.norm(expected), key  # ten times what `close` allows


def test_the_file_says_what_it_takes():
    model, _, note, graph, stored = exported("line")
    x, params = note["inputs"]["x"], note["inputs"]["params"]
    assert x["axes"] == ["batch", "channel", "x"] and x["sizes"] == [[1, None], 2, [7, None]]  # 2 m + 1
    assert x["holds"] == ["u(t-1)", "u(t)"]
    assert tuple(params["holds"]) == model.encoding.features.names and note["output"]["holds"] == ["u(t+1)"]
    assert note["features"] == "log₁₀ of U·length/ν and of the step in units of length/U."
    assert {type(t) for t in note["encoding"]["span"]} == {float}
    again = type(model.encoding).from_json(note["encoding"], model.encoding.template, None, "file")
    assert again.to_json() == model.encoding.to_json()
    with pytest.raises(Exception, match="to be >= 7, but got 6"):  # the program is for grids that carry all modes
        program = torch.export.load(io.BytesIO(stored)).module()
        program(x=torch.ones(1, 2, 6), params=torch.zeros(1, len(params["holds"])), scales=torch.ones(1, 1))
    session = InferenceSession(graph)
    given = {"params": np.zeros((1, len(params["holds"])), np.float32), "scales": np.ones((1, 1), np.float32)}
    for n in (6, 7):
        y = session.run(None, given | {"x": np.ones((1, 2, n), np.float32)})[0]
        assert y.shape == (1, 1, n) and (np.isnan(y).all() if n < 7 else np.isfinite(y).all())


CARRY = {"modes": (2,), "extension": "carry", "padding": 0.5}


@pytest.mark.parametrize(
    ("options", "suffix", "warns"),
    [
        ({"modes": (4,)}, ".pt2", False),  # the highest mode is that of Nyquist on 8 points
        ({"modes": (9,)}, ".pt2", True),  # not all are carried
        (CARRY, ".pt2", True),
        (CARRY, ".onnx", True),
    ],
)
def test_sizes_that_are_fixed_are_named(options, suffix, warns, tmp_path):
    model = Surrogate(FNO, width=4, layers=1, **options).fit(boxes(1)(8), recipe(2), **FEW)
    with pytest.warns(UserWarning, match="only for the grid of the training data") if warns else nullcontext():
        note = model.export(tmp_path / f"model{suffix}")
    assert note["inputs"]["x"]["sizes"] == [[1, None], 2, 8]
    inputs, expected = asked(model, boxes(1)(8))
    if suffix == ".onnx":
        session = InferenceSession(tmp_path / "model.onnx")
        assert session.get_inputs()[0].shape == ["batch", 2, 8]
        close(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0], expected)
    else:
        program = torch.export.load(tmp_path / "model.pt2").module()
        close(program(**inputs).detach().numpy(), expected)


def test_double_precision(tmp_path):
    model = Surrogate(FNO, width=4, layers=1, modes=(2,)).fit(boxes(1)(8), recipe(2, precision="float64"), **FEW)
    model.export(tmp_path / "model.pt2")
    inputs, expected = asked(model, boxes(1)(9))
    program = torch.export.load(io.BytesIO((tmp_path / "model.pt2").read_bytes())).module()
    found = program(**{k: v.double() for k, v in inputs.items()}).detach().numpy()
    assert found.dtype == np.float64
    assert np.linalg.norm(found - expected) <= 16 * EPS * np.linalg.norm(expected)  # what went in is float32


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    made = boxes(1)(8)
    model = Surrogate(FNO, width=4, layers=1, modes=(2,))
    with pytest.raises(InputError, match="has not been trained"):
        model.export(tmp_path / "model.pt2")
    model.fit(made, recipe(2), **FEW)
    with pytest.raises(InputError, match=r"\.pt2 or \.onnx, got 'model\.pt'"):
        model.export(tmp_path / "model.pt")
    (tmp_path / "folder.pt2").mkdir()
    with pytest.MonkeyPatch.context() as patch:  # before the work
        patch.setattr(_export, "_made", lambda *_: pytest.fail("traced for a place that cannot be written"))
        for path, said in (
            (None, "path: expected a path, got None"),
            (tmp_path / "missing" / "model.pt2", "the folder '.*missing' does not exist"),
            (tmp_path / "folder.pt2", "is a folder, expected a file name"),
        ):
            with pytest.raises(InputError, match=said):
                model.export(path)
    (tmp_path / "folder.pt2").rmdir()
    monkeypatch.setattr(_export, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"sciml\[onnx\]"):
        model.export(tmp_path / "model.onnx")
    graphs = Surrogate(Messages).fit(made, recipe(2), **FEW)
    with pytest.raises(InputError, match="GraphEncoding"):
        graphs.export(tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


class Branching(FNO):
    """Decides by a value, which no program does."""

    name, title = "test_branching", "branching"

    def forward(self, x, params=None, mask=None, coords=None):
        y = super().forward(x, params, mask, coords)
        return y if float(y.sum()) > 0 else -y


def test_a_forward_that_cannot_be_traced_is_refused(tmp_path):
    model = Surrogate(Branching, width=4, layers=1, modes=(2,)).fit(boxes(1)(8), recipe(2), **FEW)
    with pytest.raises(InputError, match="no form for what the test_branching computes"):
        model.export(tmp_path / "model.pt2")
