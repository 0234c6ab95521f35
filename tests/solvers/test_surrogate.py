"""Surrogates on problems whose answers are known: they learn, step, refuse, and come back from disk the same."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from _made import QUIET, cube, own, recipe, waves

from sciml import data, metrics
from sciml.errors import FileFormatError, InputError, SolverError
from sciml.operators import FNO, DeepONet, Identity, UNet
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson
from sciml.solvers import FiniteVolume, Surrogate, load
from sciml.solvers._saved import _config_digest
from sciml.training import (
    H1,
    AdamW,
    Autoregressive,
    Callback,
    Epochs,
    Mirror,
    Noise,
    Query,
    RelativeL2,
    Rollout,
    Running,
    Starts,
    Steady,
    Steps,
    Supervised,
    Window,
)  # fmt: skip
from sciml.training.checkpoint import digest, read_tensors, write_tensors
from sciml.training.samples import table

N = 64


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def burgers(i, count, frames=11):
    """Cases of different units but one Δt in units of L/U, solved exactly."""
    rng = np.random.default_rng(i)
    velocity, length = float(rng.uniform(0.5, 2)), float(rng.uniform(0.5, 2))
    reynolds = 10 ** (1 + i / (count - 1))
    case = Burgers().case(viscosity=velocity * length / reynolds, velocity=velocity, length=length)
    times = np.arange(frames) * 0.05 * case.scales.time
    x = (np.arange(N) + 0.5) * length / N
    return data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x})


@pytest.fixture(scope="module")
def burgers_set(tmp_path_factory):
    count = 24
    split = ["test" if i % 6 == 3 else "validation" if i % 6 == 5 else "train" for i in range(count)]
    path = tmp_path_factory.mktemp("data") / "burgers.h5"
    data.write(data.pack([burgers(i, count) for i in range(count)], splits=split), path)
    return path


@pytest.fixture(scope="module")
def trained(burgers_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "fno"
    torch.set_num_threads(1)
    surrogate = Surrogate(FNO, width=16, modes=(12,), layers=2)
    how = recipe(800, batch=16, lr=8e-3, average=0.99, seed=1, objective=Supervised(RelativeL2()))
    return surrogate.fit(burgers_set, how, running=Running(out=out, progress=False)), out


def test_burgers_is_learned(trained, burgers_set):
    """Held-out viscosities, ten steps from the initial field: within one per cent where persistence is off by 30."""
    surrogate, _ = trained
    ds = data.open(burgers_set)
    held = table(ds, "test")
    assert len(held.cases) == 4
    for i, case in enumerate(held.cases):
        truth = data.case(ds, int(held.number[i]))[1]
        found = surrogate.solve(case, truth.time.values)
        assert found.u.dims == ("time", "x") and found.u.shape == truth.u.shape
        np.testing.assert_allclose(found.x, truth.x, rtol=1e-12)
        error = metrics.relative_l2(found.u.values[-1], truth.u.values[-1])
        still = metrics.relative_l2(truth.u.values[0], truth.u.values[-1])
        assert error < 0.01 and still > 0.25
    assert surrogate.metrics[-1]["validation_gain"] > 1000


def test_save_and_load_give_identical_answers(trained):
    surrogate, out = trained
    case = Burgers().case(viscosity=0.03, length=1.5)
    times = np.arange(8) * 0.05 * case.scales.time
    again = load(out)
    assert isinstance(again, Surrogate)
    a, b = surrogate.solve(case, times), again.solve(case, times)
    assert np.array_equal(a.u.values, b.u.values) and a.attrs["settings"] == b.attrs["settings"]
    assert again.identity == surrogate.identity and again.encoding.to_json() == surrogate.encoding.to_json()
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoints", "config.json", "metrics.jsonl", "run.json", "support.safetensors", "weights.safetensors",
    ]  # fmt: skip
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 800 and {"loss", "lr", "gradient_norm"} <= records[0].keys()
    # what `solve` answers is a solution like any other
    packed = data.pack([a, b], dtype=None)
    data.validate(packed)
    assert data.case(packed, 1)[0] == case


def test_places_of_odd_shapes_are_refused(trained, tmp_path):
    """Whatever the shape or the type of what a support is made of: one clear line, and never an error of NumPy's."""
    _, out = trained
    random = np.random.default_rng(0)
    for file in ("config.json", "weights.safetensors", "metrics.jsonl"):
        (tmp_path / file).write_bytes((out / file).read_bytes())
    whole, _ = read_tensors(out / "support.safetensors")
    names = [*whole, "mask", "position", "cells_triangle", "sensors", "at_x", "volume"]
    for _ in range(300):
        places = dict(whole)
        for name in random.choice(names, size=2, replace=False):
            shape = tuple(random.integers(0, 4, size=random.integers(0, 4)))
            values = torch.from_numpy(random.integers(-2, 5, size=shape))
            places[str(name)] = values if random.random() < 0.5 else values.double()
        write_tensors(tmp_path / "support.safetensors", places)
        with pytest.raises(FileFormatError):
            load(tmp_path)


def test_a_run_kept_in_memory_has_the_same_records(trained, burgers_set, tmp_path):
    """Losses and validations alike, with a folder or without; and a folder's records are those of what it holds."""
    how = recipe(20, batch=16, seed=1)
    kept = Surrogate(FNO, width=8, modes=(6,), layers=1).fit(burgers_set, how, running=QUIET)
    running = Running(out=tmp_path / "a", progress=False)
    written = Surrogate(FNO, width=8, modes=(6,), layers=1).fit(burgers_set, how, running=running)
    assert kept.metrics == written.metrics == load(tmp_path / "a").metrics
    assert [r["step"] for r in kept.metrics if "loss" in r] == [1, 10, 20]
    surrogate, _ = trained
    surrogate.save(tmp_path / "a")
    assert load(tmp_path / "a").metrics == surrogate.metrics != kept.metrics


def test_only_reachable_times(trained):
    surrogate, _ = trained
    case = Burgers().case(viscosity=0.05, velocity=2.0, length=1.0)  # L/U = 0.5, Δt = 0.025
    with pytest.raises(
        InputError, match=r"times: 0\.04 s cannot be reached .* 0\.025 s .* nearest times are 0\.025 and 0\.05"
    ):
        surrogate.solve(case, [0.0, 0.04])
    some = surrogate.solve(case, [0.05, 0.1])  # any multiples, none added
    every = surrogate.solve(case, np.arange(5) * 0.025)
    assert np.array_equal(some.u.values, every.u.values[[2, 4]]) and some.time.values.tolist() == [0.05, 0.1]
    first = surrogate.solve(case, [0.0])
    expected = case.problem.initial_state(case, surrogate.encoding.support(case))["u"]
    np.testing.assert_allclose(first.u.values[0], expected, rtol=1e-6)
    between = surrogate.solve(case, [0.05], points=[[0.1], [0.9]])
    assert between.u.dims == ("time", "node") and between.x.values.tolist() == [0.1, 0.9]
    expected = surrogate.encoding.support(case).sample(every.u.values[2], np.array([[0.1], [0.9]]))
    np.testing.assert_allclose(between.u.values[0], expected, rtol=1e-6)


def test_solve_many_equals_solve(trained):
    surrogate, _ = trained
    cases = [Burgers().case(viscosity=v, length=length) for v, length in ((0.02, 1.0), (0.05, 2.0), (0.06, 0.7))]
    times = [np.arange(n) * 0.05 * c.scales.time for n, c in zip((3, 6, 1), cases, strict=True)]
    many = surrogate.solve_many(cases, times)
    assert many.row_size.values.tolist() == [3, 6, 1]
    for i, case in enumerate(cases):
        alone = surrogate.solve(case, times[i])
        # a batch is summed in another order: a few roundings of float32 in each of at most five steps, values up to one
        slack = 5 * 4 * float(np.finfo(np.float32).eps)
        np.testing.assert_allclose(data.case(many, i)[1].u.values, alone.u.values, rtol=0, atol=slack)


def test_what_training_never_saw_is_told(trained):
    surrogate, _ = trained
    case = Burgers().case(viscosity=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.solve(case, [0.05, 0.5])  # Reynolds numbers were 10 to 90, and cases ended at 10 steps of 0.05
    scaler = surrogate.encoding.features
    assert scaler.std[scaler.names.index("log10_step")] == 0  # one step in all of the data
    assert scaler.constant_but_different(np.array([[1.5, -0.5]])) == ["log10_step"]
    with pytest.warns(UserWarning, match=r"log10_reynolds is 2\.699, beyond the training data's 1 to 1\.957;"):
        surrogate.solve(Burgers().case(viscosity=1 / 500), [0.05])
    with pytest.warns(UserWarning, match=r"goes on to 0\.55 s, but training cases end at 0\.5 s; do not"):
        surrogate.solve_many([case, case], [[0.05], [0.55]])


class Kill(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, record):
        if record["step"] == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("memory_limit", [1e9, 0.0], ids=["in memory", "from the file"])
def test_resume_equals_uninterrupted_training(burgers_set, tmp_path, memory_limit):
    how = recipe(
        30, batch=8, average=0.9, objective=Rollout(H1(), steps=3, after=0.5), augmentations=(Noise(1e-3),), seed=4,
        sampler=Starts(3), keep="last" if memory_limit else "best", validate_every=4,
    )  # fmt: skip
    out = tmp_path / "run"

    def new():
        return Surrogate(UNet, Autoregressive(history=2), width=8, multipliers=(1, 2))

    def running(*callbacks, **more):
        usual = {"out": out, "progress": False, "resume": True, "checkpoint_every": 6, "memory_limit": memory_limit}
        return Running(**(usual | {"callbacks": callbacks} | more))

    whole = new().fit(burgers_set, how, running=QUIET.replace(memory_limit=memory_limit))
    for stop in (3, 15, 26):
        with pytest.raises(KeyboardInterrupt):
            new().fit(burgers_set, how, running=running(Kill(stop)))
    with pytest.raises(InputError, match="holds a run already"):
        new().fit(burgers_set, how, running=running(resume=False))
    with pytest.raises(InputError, match="augmentations"):
        new().fit(burgers_set, how.replace(augmentations=()), running=running())
    resumed = new().fit(burgers_set, how, running=running(Callback()))
    assert digest(resumed.operator.state_dict()) == digest(whole.operator.state_dict())
    assert digest(load(out).operator.state_dict()) == digest(whole.operator.state_dict())
    figures = [[r["validation"] for r in m.metrics if "validation" in r] for m in (whole, resumed)]
    assert figures[0] == figures[1] and len(figures[0]) == 8
    longer = new().fit(burgers_set, how.replace(length=Steps(33)), running=running())
    assert longer.training["steps"] == 33
    if how.keep == "last":
        assert digest(longer.operator.state_dict()) != digest(whole.operator.state_dict())
    assert load(out).training["steps"] == 33
    with pytest.raises(InputError, match="cases is 5"):
        new().fit([burgers(i, 5) for i in range(5)], how, validation=None, running=running())


def test_loader_and_memory_train_alike(burgers_set):
    """The same samples in the same order, whether frames are in memory or read as needed."""
    how = recipe(8, batch=8, objective=Rollout(steps=2, after=0.5), sampler=Starts(3))
    runs = []
    for limit in (1e9, 0.0):
        surrogate = Surrogate(FNO, Autoregressive(history=3), width=8, modes=(6,), layers=1)
        running = Running(memory_limit=limit, progress=False)
        runs.append(surrogate.fit(burgers_set, how, validation=None, running=running).operator.state_dict())
    for name, weight in runs[0].items():
        torch.testing.assert_close(weight, runs[1][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("operator", "options", "within"),
    [
        (FNO, {"width": 16, "modes": (8,), "layers": 2}, 1e-2),
        (UNet, {"width": 16, "multipliers": (1, 2)}, 1e-2),
        (DeepONet, {"width": 64, "basis": 32, "frequencies": 4}, 8e-2),
    ],
)
def test_overfits_a_few_samples(burgers_set, operator, options, within):
    """Every operator drives the error on a handful of samples far below what it starts with."""
    ds = data.open(burgers_set)
    few = data.pack([data.case(ds, i)[1].isel(time=slice(0, 4)) for i in (0, 10)], dtype=None)
    surrogate = Surrogate(operator, **options)
    surrogate.fit(few, recipe(200, batch=8, lr=4e-3), split=None, validation=None, running=QUIET)
    for i in range(2):
        case, truth = data.case(few, i)
        found = surrogate.solve(case, truth.time.values)
        assert metrics.relative_l2(found.u.values, truth.u.values) < within


def poisson(rng, n=16):
    """−Δp = Σ π²(m² + n²) a sin sin has the solution p = Σ a sin sin."""
    x = (np.arange(n) + 0.5) / n
    p, f = np.zeros((n, n)), np.zeros((n, n))
    for m in range(1, 4):
        for k in range(1, 4):
            a = rng.normal() / (m * k)
            wave = a * np.sin(math.pi * m * x)[:, None] * np.sin(math.pi * k * x)[None, :]
            p, f = p + wave, f + math.pi**2 * (m**2 + k**2) * wave
    case = Poisson().case(source=f)
    return data.solution(case, None, {"p": (("y", "x"), p)}, {"x": x, "y": x})


def test_steady_problem():
    """Input field to solution, at the training resolution and at another one."""
    rng = np.random.default_rng(0)
    split = ["train"] * 80 + ["validation"] * 10 + ["test"] * 10
    packed = data.pack([poisson(rng) for _ in split], splits=split, dtype=None)
    surrogate = Surrogate(FNO, width=12, modes=(5, 5), layers=2, padding=0.25)
    surrogate.fit(packed, recipe(length=Epochs(60), batch=20, lr=8e-3), running=QUIET)
    assert surrogate.encoding.stepping == Steady() and surrogate.metrics[-1]["validation"] < 0.1**2
    held = table(packed, "test")
    errors = []
    for i, case in enumerate(held.cases):
        found = surrogate.solve(case)
        assert found.p.dims == ("y", "x")
        errors.append(metrics.relative_l2(found.p.values, data.case(packed, int(held.number[i]))[1].p.values))
    assert np.mean(errors) < 0.1
    fine = poisson(np.random.default_rng(77), n=32)
    case = data.case(data.pack([fine], dtype=None), 0)[0]
    for asked in (case, case.on(None)):  # on the grid of its data, or of its source
        found = surrogate.solve(asked)
        assert found.p.shape == (32, 32) and metrics.relative_l2(found.p.values, fine.p.values) < 0.2
    with pytest.raises(InputError, match="steady"):
        surrogate.resume(case, fine, [1.0])
    with pytest.raises(InputError, match="steady"):
        surrogate.resume(case, fine, None)
    with pytest.raises(InputError, match="steady, expected no times"):
        surrogate.solve(case, [1.0])


def test_boundary_values_in_time_are_inputs():
    """The heat equation is driven from one end: the state alone does not decide the next one."""
    solutions = []
    for i in range(8):
        case = HeatEquation().case(frequency=1.0, amplitude=1.0 + 0.2 * i, diffusivity=0.05)
        times = np.arange(25) * 0.05
        x = (np.arange(32) + 0.5) / 32
        solutions.append(data.solution(case, times, {"T": (("time", "x"), case.exact(times, (x,))["T"])}, {"x": x}))
    packed = data.pack(solutions, splits=["train"] * 6 + ["test"] * 2, dtype=None)
    surrogate = Surrogate(FNO, width=16, modes=(8,), layers=2, padding=0.25)
    surrogate.fit(packed, recipe(300, batch=16, lr=6e-3), validation=None, running=QUIET)
    names = surrogate.encoding.features.names
    assert "x_min_T_now" in names and "x_min_T_next" in names
    case, truth = data.case(packed, 6)
    found = surrogate.solve(case, truth.time.values)
    assert metrics.relative_l2(found["T"].values, truth["T"].values) < 0.05


def test_answers_lie_on_the_grid_that_was_trained_on(tmp_path):
    """Coefficients given on 8 × 8 cells, solutions on 16 × 16: so are answers. Given on the solutions' own grid, a
    case with a finer coefficient is answered on the finer grid."""
    rng = np.random.default_rng(0)

    def cases(n, count=2):
        return [Darcy().case(permeability=np.exp(rng.standard_normal((n, n)))) for _ in range(count)]

    for cells, wanted in ((8, 16), (16, 32)):
        surrogate = Surrogate(FNO, width=4, modes=(4, 4), layers=1)
        solved = [FiniteVolume(16).solve(c) for c in cases(cells)]
        surrogate.fit(solved, recipe(2), split=None, validation=None, running=QUIET)
        surrogate.save(tmp_path / str(cells))
        for one in (surrogate, load(tmp_path / str(cells))):
            assert one.solve(cases(2 * cells, 1)[0])["p"].shape == (wanted, wanted)


def test_nonfinite_answers_are_reported(trained):
    _, out = trained
    broken = load(out)
    with torch.no_grad():
        broken.operator.projection.second.bias.fill_(math.inf)
    case = Burgers().case(viscosity=0.05)
    with pytest.raises(SolverError, match=r"not finite from time 0\.05 s"):
        broken.solve(case, [0.0, 0.05, 0.1])
    many = broken.solve_many([case], [0.0, 0.05])
    assert many.status.values.tolist() == [1]


# -- files -----------------------------------------------------------------------------------------------------------


def test_damaged_runs_are_refused(trained, tmp_path):
    surrogate, _ = trained
    run = tmp_path / "run"
    surrogate.save(run)
    config = (run / "config.json").read_text()

    def refused(match, kind=FileFormatError):
        with pytest.raises(kind, match=match) as caught:
            load(run)
        assert "\n" not in str(caught.value)

    (run / "config.json").write_text(config.replace('"operator": "fno"', '"operator": "fnq"'))
    refused("did you mean 'fno'", InputError)
    for where, value in (
        (("encoding", "stepping"), None), (("encoding", "increment"), "x"), (("encoding", "kind"), "RingEncoding"),
        (("encoding", "problem"), {}), (("encoding", "state"), []), (("encoding", "dtype"), "int8"),
        (("operator_config", "padding"), "x"), (("operator_config", "width"), 17), (("options",), {}),
        (("training",), []),
        (("encoding", "span"), [0.0]), (("encoding", "features"), None), (("encoding", "step"), {"kind": "physical"}),
    ):  # fmt: skip
        changed = json.loads(config)
        place = changed
        for name in where[:-1]:
            place = place[name]
        place[where[-1]] = value
        (run / "config.json").write_text(json.dumps(changed))
        refused("config.json")
        changed["config_sha256"] = _config_digest(changed)
        (run / "config.json").write_text(json.dumps(changed))
        if where[-1] == "width":
            refused("has shape")
    (run / "config.json").write_text("[" * 100_000)
    refused("expected JSON")
    (run / "config.json").write_text(config.replace('"schema": 2', '"schema": 9'))
    refused("schema is 9")
    (run / "config.json").write_text(config.replace('"increment"', '"incremint"'))
    refused("increment")
    (run / "config.json").write_text(config[:-30])
    refused("expected JSON")
    (run / "config.json").write_text(config)
    for name in ("weights", "support"):
        file = run / f"{name}.safetensors"
        good = file.read_bytes()
        content = bytearray(good)
        content[-3] ^= 1
        file.write_bytes(content)
        refused("not those that|no support as expected")
        file.write_bytes(content[:-10])
        refused("broken")
        file.unlink()
        refused("cannot be read", InputError)
        file.write_bytes(good)
    assert isinstance(load(run), Surrogate)
    with pytest.raises(InputError, match="there is none"):
        load(tmp_path / "nowhere")


def test_where_runs_are_saved(trained, tmp_path, monkeypatch):
    surrogate, _ = trained
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be made") as caught:
        surrogate.save(tmp_path / "file")
    assert "\n" not in str(caught.value) and (tmp_path / "file").read_text() == "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    surrogate.save("~/at_home")
    assert (tmp_path / "at_home" / "config.json").exists() and isinstance(load("~/at_home"), Surrogate)
    few = [waves(cube(1), speed=s) for s in (0.1, 0.2)]
    made = Surrogate(FNO, width=4, modes=(3,), layers=1)
    made.fit(few, recipe(1), validation=None, running=Running(out="~/trained", progress=False))
    assert (tmp_path / "trained" / "run.json").exists() and (tmp_path / "trained" / "config.json").exists()
    with pytest.raises(InputError, match="cannot be made"):
        made.fit(few, recipe(1), validation=None, running=Running(out=tmp_path / "file", progress=False))
    with pytest.raises(InputError, match="expected the path"):
        load(5)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "options", "message"),
    [
        ({}, {"split": "trian"}, "did you mean 'train'"),
        ({}, {"subset": "bc"}, "no subset is called 'bc'"),
        ({}, {"split": "folds/train"}, "no split 'folds'"),
        ({"objective": Rollout(steps=40)}, {}, "frames"),
        ({"augmentations": (Mirror(),)}, {}, "states no symmetry"),
        ({"keep": "best"}, {"validation": None}, "validation"),
    ],
)
def test_bad_arguments(burgers_set, how, options, message):
    with pytest.raises(InputError, match=message):
        Surrogate(FNO, width=8, modes=(4,)).fit(burgers_set, recipe(**how), running=QUIET, **options)


def test_more_bad_arguments(burgers_set):
    with pytest.raises(InputError, match="did you mean 'fno'"):
        Surrogate("fn0")
    with pytest.raises(InputError, match="not been trained"):
        Surrogate(FNO).solve(Burgers().case(), [0.0])
    with pytest.raises(InputError, match="did you mean 'width'"):
        Surrogate(FNO, widht=3)
    for options in (
        {"operator": 5}, {"operator": FNO, "fields": 5}, {"operator": FNO, "fields": "u"},
        {"operator": FNO, "stepping": "steady"}, {"operator": FNO, "device": "cuda:99"},
    ):  # fmt: skip
        with pytest.raises(InputError, match="expected"):
            Surrogate(**options)
    for running in (Running(device="cuda:99"), {"out": "a"}):
        with pytest.raises(InputError, match="expected"):
            Surrogate(FNO).fit(burgers_set, recipe(), running=running)
    for made, message in (
        (Surrogate(FNO, fields=["w"]), r"did you mean .u.|known: u|no field 'w'"),
        (Surrogate(Identity), "no weights to train"),
        (Surrogate(FNO, Steady()), "changes in time"),
        (Surrogate(FNO, Window(20, 20)), "frames"),
    ):
        with pytest.raises(InputError, match=message):
            made.fit(burgers_set, recipe(), running=QUIET)
    for given in ([Burgers().case()], 3, []):
        with pytest.raises(InputError, match=r"data: expected (a path|at least one)"):
            Surrogate(FNO).fit(given, recipe())
    with pytest.raises(InputError, match=r"expected a sciml\.Recipe"):
        Surrogate(FNO).fit(burgers_set, {"steps": 3})
    with pytest.raises(InputError, match="answers at once"):
        Surrogate(DeepONet, Query()).fit(burgers_set, recipe(objective=Rollout(steps=3)))


def test_mirrored_training_runs():
    rng = np.random.default_rng(0)
    x = (np.arange(8) + 0.5) / 8
    case = LidDrivenCavity().case()
    fields = {n: (("time", "y", "x"), rng.normal(size=(6, 8, 8))) for n in ("u", "v")}
    packed = data.pack([data.solution(case, np.arange(6) * 0.25, fields, {"x": x, "y": x})], dtype=None)
    surrogate = Surrogate(FNO, width=8, modes=(3, 3), layers=1)
    surrogate.fit(packed, recipe(augmentations=(Mirror(),)), split=None, validation=None, running=QUIET)
    at = surrogate.encoding.features.names.index("lid_now")
    assert surrogate.encoding.features.mean[at] == 0 and surrogate.encoding.features.std[at] == pytest.approx(1)
    assert surrogate.supports(LidDrivenCavity()) and not surrogate.supports(Burgers())
    missing = Surrogate(FNO, fields=["u", "v", "p"], width=8, modes=(3, 3), layers=1)
    with pytest.raises(InputError, match="no field 'p'"):
        missing.fit(packed, recipe(), validation=None, running=QUIET)


def test_going_on_from_weights(tmp_path):
    """A model that has weights keeps them as where it begins; `fresh` throws them away."""
    few = [waves(cube(1), speed=s) for s in (0.1, 0.2, 0.3)]

    def fit(model, **more):
        return model.fit(few, recipe(**({"steps": 1, "lr": 1e-9} | more)), validation=None, running=QUIET)

    first = fit(Surrogate(FNO, width=8, modes=(3,), layers=1), steps=20, lr=1e-2)
    before = {k: v.clone() for k, v in first.operator.state_dict().items()}
    scales = first.encoding.to_json()
    first.save(tmp_path / "a")
    again = load(tmp_path / "a")
    assert isinstance(again, Surrogate)
    fit(again, seed=5)
    for name, weight in again.operator.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-7)
    assert again.encoding.to_json() == scales and again.training["continued"]
    new = load(tmp_path / "a")
    assert isinstance(new, Surrogate)
    new.fit(few, recipe(1, lr=1e-9, seed=5), validation=None, running=QUIET, fresh=True)
    assert not new.training["continued"]
    assert max(float((new.operator.state_dict()[k] - before[k]).abs().max()) for k in before) > 0.01
    with pytest.raises(InputError, match="fresh=True begins anew"):
        again.fit(few, recipe(precision="float64"), validation=None, running=QUIET)
    with pytest.raises(InputError, match="trained on 'waves'"):
        again.fit([waves(cube(1), problem=own(1, name="others"))], recipe(), validation=None, running=QUIET)
    again.stepping = Window(2, 2)
    with pytest.raises(InputError, match="was trained with"):
        fit(again)
    more = load(tmp_path / "a")
    assert isinstance(more, Surrogate)
    out = tmp_path / "b"
    more.fit(few, recipe(2), validation=None, running=Running(out=out, progress=False))
    assert load(out).training["continued"]


def test_double_precision_is_kept_in_going_on(tmp_path):
    few = [waves(cube(1), speed=s) for s in (0.1, 0.2)]
    how = recipe(2, precision="float64", lr=1e-2)
    model = Surrogate(FNO, width=4, modes=(3,), layers=1).fit(few, how, validation=None, running=QUIET)
    before = {k: v.clone() for k, v in model.operator.state_dict().items()}
    model.fit(
        few, how.replace(length=Steps(1), optimiser=AdamW(lr=1e-15, weight_decay=0.0)), validation=None, running=QUIET
    )
    for name, weight in model.operator.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-13)


def test_numbers_that_are_stored(trained):
    surrogate, _ = trained
    assert surrogate.settings["parameters"] == sum(p.numel() for p in surrogate.operator.parameters())
    other = Surrogate(FNO, width=16, modes=(12,), layers=2)
    assert other.settings == {"operator": "fno", "options": {"width": 16, "modes": [12], "layers": 2}}
    assert not other.fitted and other.training == {} and other.metrics == []
