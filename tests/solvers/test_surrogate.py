"""Surrogates on problems whose answers are known: they learn, step, refuse, and come back from disk the same."""

import json
import math
import warnings

import numpy as np
import pytest
import torch

from sciml import data, metrics
from sciml.errors import FileFormatError, InputError, SolverError
from sciml.operators import FNO, Identity, UNet
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson
from sciml.solvers import FiniteVolume, Surrogate, load
from sciml.solvers._encoding import Encoding
from sciml.solvers._fitting import memory_batches
from sciml.solvers.surrogate import _config_digest
from sciml.training import Callback
from sciml.training.batches import MemoryBatches, Reflected
from sciml.training.checkpoint import digest
from sciml.training.samples import TimeStep, table, time_step

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
    surrogate = Surrogate(FNO, width=16, modes=(12,), layers=3)
    recipe = {"steps": 800, "batch_size": 16, "lr": 4e-3, "ema": 0.99, "seed": 1, "loss": "relative_l2"}
    return surrogate.fit(burgers_set, out=out, progress=False, **recipe), out


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
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoints", "config.json", "metrics.jsonl", "run.json", "weights.safetensors",
    ]  # fmt: skip
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 800 and {"loss", "lr", "gradient_norm"} <= records[0].keys()
    # what `solve` answers is a solution like any other
    packed = data.pack([a, b], dtype=None)
    data.validate(packed)
    assert data.case(packed, 1)[0] == case


def test_a_run_kept_in_memory_has_the_same_records(trained, burgers_set, tmp_path):
    """Losses and validations alike, with a folder or without; and a folder's records are those of what it holds."""
    recipe = {"steps": 20, "batch_size": 16, "seed": 1, "progress": False}
    kept = Surrogate(FNO, width=8, modes=(6,), layers=1).fit(burgers_set, **recipe)
    written = Surrogate(FNO, width=8, modes=(6,), layers=1).fit(burgers_set, out=tmp_path / "a", **recipe)
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
    expected = case.problem.initial_state(case, surrogate.encoding.grid(case))["u"]
    np.testing.assert_allclose(first.u.values[0], expected, rtol=1e-6)
    with pytest.raises(InputError, match="points"):
        surrogate.solve(case, [0.05], points=[[0.1]])


def test_solve_many_equals_solve(trained):
    surrogate, _ = trained
    cases = [Burgers().case(viscosity=v, length=length) for v, length in ((0.02, 1.0), (0.05, 2.0), (0.08, 0.7))]
    times = [np.arange(n) * 0.05 * c.scales.time for n, c in zip((3, 6, 1), cases, strict=True)]
    many = surrogate.solve_many(cases, times)
    assert many.row_size.values.tolist() == [3, 6, 1]
    for i, case in enumerate(cases):
        alone = surrogate.solve(case, times[i])
        np.testing.assert_allclose(data.case(many, i)[1].u.values, alone.u.values, atol=2e-6)


def test_rollout_from_any_frame(trained, burgers_set):
    surrogate, _ = trained
    ds = data.open(burgers_set)
    held = table(ds, "test")
    truth = [data.case(ds, int(n))[1].u.values[:, None] for n in held.number]
    starts = [t[3] for t in held.times]
    found = surrogate.rollout(np.stack([f[3] for f in truth]), held.cases, starts, 5)
    assert found.shape == (4, 5, 1, N) and found.dtype == np.float32
    for f, t in zip(found, truth, strict=True):
        assert metrics.relative_l2(f, t[4:9]) < 0.01
    with pytest.raises(InputError, match="initial: expected shape"):
        surrogate.rollout(truth[0], held.cases, 0.0, 5)


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
    with pytest.warns(UserWarning, match=r"goes on to 0\.55 s, but training cases end at 0\.5 s \(10 steps\); do not"):
        surrogate.solve_many([case, case], [[0.05], [0.55]])


@pytest.mark.parametrize("repeats", [1, 4])
def test_loader_and_memory_train_alike(burgers_set, repeats):
    """The same windows in the same order, whether frames are in memory or read as needed."""
    runs = []
    for limit, workers in ((1e9, 0), (0.0, 0), (0.0, 1)):
        surrogate = Surrogate(FNO, width=8, modes=(6,), layers=2)
        surrogate.fit(
            burgers_set, steps=25, batch_size=8, rollout=2, rollout_start=0.5, memory_limit=limit, workers=workers,
            progress=False, validation=None, repeat_start=repeats,
        )  # fmt: skip
        runs.append(surrogate.operator.state_dict())
    for name, weight in runs[0].items():
        torch.testing.assert_close(weight, runs[1][name], rtol=1e-3, atol=1e-4)
    assert digest(runs[1]) == digest(runs[2])  # workers change nothing at all


def test_starts_come_as_often_as_asked(burgers_set):
    cases = table(data.open(burgers_set), "train")
    encoding = Encoding.fit(cases, 1, True)
    plain = memory_batches(cases, encoding, 1, 4, 0)
    more = memory_batches(cases, encoding, 1, 4, 0, again=2)
    assert len(more.windows) == len(plain.windows) + 2 * len(cases.cases)
    found, counts = np.unique(more.windows, axis=0, return_counts=True)
    assert np.array_equal(counts == 3, found[:, 0] == found[:, 1]) and set(counts) == {1, 3}
    few = memory_batches(cases, encoding, 1, 4, 0, most=7)
    assert len(few.windows) == 7 and set(map(tuple, few.windows)) <= set(map(tuple, plain.windows))


class Kill(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, record):
        if record["step"] == self.step:
            raise KeyboardInterrupt


def test_resume_equals_uninterrupted_training(burgers_set, tmp_path):
    options = {"steps": 40, "batch_size": 8, "ema": 0.9, "checkpoint_every": 6, "rollout": 3, "rollout_start": 0.5,
               "noise": 1e-3, "progress": False, "seed": 4, "loss": "h1"}  # fmt: skip

    def new():
        return Surrogate(UNet, width=8, multipliers=(1, 2), history=2)

    whole = new().fit(burgers_set, **options)
    for stop in (3, 15, 33):
        with pytest.raises(KeyboardInterrupt):
            new().fit(burgers_set, out=tmp_path / "run", resume=True, callbacks=[Kill(stop)], **options)
    with pytest.raises(InputError, match="holds a run already"):
        new().fit(burgers_set, out=tmp_path / "run", **options)
    with pytest.raises(InputError, match=r"noise is 0\.0, but"):
        new().fit(burgers_set, out=tmp_path / "run", resume=True, **(options | {"noise": 0.0}))
    resumed = new().fit(burgers_set, out=tmp_path / "run", resume=True, callbacks=[Callback()], **options)
    assert digest(resumed.operator.state_dict()) == digest(whole.operator.state_dict())
    assert digest(load(tmp_path / "run").operator.state_dict()) == digest(whole.operator.state_dict())


def test_overfits_a_few_samples(burgers_set):
    """Every operator drives the error on a handful of windows far below what it starts with."""
    ds = data.open(burgers_set)
    few = data.pack([data.case(ds, i)[1].isel(time=slice(0, 4)) for i in (0, 10)], dtype=None)
    for operator, options in (
        (FNO, {"width": 16, "modes": (8,), "layers": 2}),
        (UNet, {"width": 16, "multipliers": (1, 2)}),
    ):
        surrogate = Surrogate(operator, **options)
        surrogate.fit(few, split=None, validation=None, steps=400, batch_size=6, lr=4e-3, progress=False)
        for i in range(2):
            case, truth = data.case(few, i)
            found = surrogate.solve(case, truth.time.values)
            assert metrics.relative_l2(found.u.values, truth.u.values) < 5e-3, operator


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
    split = ["train"] * 160 + ["validation"] * 20 + ["test"] * 20
    packed = data.pack([poisson(rng) for _ in split], splits=split, dtype=None)
    surrogate = Surrogate(FNO, width=16, modes=(6, 6), layers=2, padding=0.25)
    surrogate.fit(packed, epochs=100, batch_size=20, lr=5e-3, progress=False)
    assert surrogate.metrics[-1]["validation"] < 0.05**2
    held = table(packed, "test")
    errors = []
    for i, case in enumerate(held.cases):
        found = surrogate.solve(case)
        assert found.p.dims == ("y", "x")
        errors.append(metrics.relative_l2(found.p.values, data.case(packed, int(held.number[i]))[1].p.values))
    assert np.mean(errors) < 0.05
    fine = poisson(np.random.default_rng(77), n=32)
    case = data.case(data.pack([fine], dtype=None), 0)[0]
    found = surrogate.solve(case)
    assert found.p.shape == (32, 32) and metrics.relative_l2(found.p.values, fine.p.values) < 0.1
    with pytest.raises(InputError, match="steady"):
        surrogate.rollout(np.zeros((1, 1, 16, 16)), [case], 0.0, 3)
    with pytest.raises(InputError, match="steady, expected no times"):
        surrogate.solve(case, [1.0])


def test_boundary_values_in_time_are_inputs():
    """The heat equation is driven from one end: the state alone does not decide the next one."""
    solutions = []
    for i in range(12):
        case = HeatEquation().case(frequency=1.0, amplitude=1.0 + 0.2 * i, diffusivity=0.05)
        times = np.arange(25) * 0.05
        x = (np.arange(32) + 0.5) / 32
        solutions.append(data.solution(case, times, {"T": (("time", "x"), case.exact(times, (x,))["T"])}, {"x": x}))
    packed = data.pack(solutions, splits=["train"] * 10 + ["test"] * 2, dtype=None)
    surrogate = Surrogate(FNO, width=16, modes=(8,), layers=2, padding=0.25)
    surrogate.fit(packed, steps=500, batch_size=16, lr=4e-3, progress=False, validation=None)
    names = surrogate.encoding.features.names
    assert "x_min_T_now" in names and "x_min_T_next" in names
    case, truth = data.case(packed, 11)
    found = surrogate.solve(case, truth.time.values)
    assert metrics.relative_l2(found["T"].values, truth["T"].values) < 0.05


def test_time_step_of_data():
    def cavity(speed, dt, frames=4):
        case = LidDrivenCavity().case(lid_velocity=speed)
        x = (np.arange(4) + 0.5) / 4
        zero = np.zeros((frames, 4, 4))
        fields = {"u": (("time", "y", "x"), zero), "v": (("time", "y", "x"), zero)}
        return data.solution(case, np.arange(frames) * dt, fields, {"x": x, "y": x})

    def of(*solutions):
        return time_step(table(data.pack(solutions, dtype=None), None))

    assert of(cavity(1.0, 0.25), cavity(4.0, 0.0625)) == TimeStep("nondimensional", 0.25)
    assert of(cavity(1.0, 0.1), cavity(4.0, 0.1)) == TimeStep("physical", 0.1)
    assert of(cavity(1.0, 0.1), cavity(4.0, 0.1, frames=1)) == TimeStep("nondimensional", 0.1)
    with pytest.raises(InputError, match=r"time steps differ between cases, 0\.1 to 0\.3 s"):
        of(cavity(1.0, 0.1), cavity(4.0, 0.3))
    uneven = cavity(1.0, 0.1).assign_coords(time=[0.0, 0.1, 0.2, 0.35])
    with pytest.raises(InputError, match="unequal time steps"):
        of(uneven)


def test_rest_stays_rest_and_masks_hold():
    """Zero in, zero increment target: a cavity at rest is an exact zero of the encoding."""
    rng = np.random.default_rng(0)
    case = LidDrivenCavity().case(lid_velocity=3.0)
    x = (np.arange(8) + 0.5) / 8
    u = rng.normal(size=(6, 8, 8))
    u[0] = 0
    fields = {"u": (("time", "y", "x"), u), "v": (("time", "y", "x"), -u)}
    packed = data.pack([data.solution(case, np.arange(6) * 0.1, fields, {"x": x, "y": x})], dtype=None)
    surrogate = Surrogate(FNO, width=8, modes=(3, 3), layers=1)
    surrogate.fit(packed, split=None, validation=None, steps=3, batch_size=2, progress=False)
    assert (surrogate.encoding.normalise(case, np.zeros((2, 8, 8))) == 0).all()
    back = surrogate.encoding.restore(case, surrogate.encoding.normalise(case, u[:2]))
    np.testing.assert_allclose(back, u[:2], rtol=1e-5, atol=1e-6)


def test_answers_lie_on_the_grid_that_was_trained_on(tmp_path):
    """Coefficients given on 8 × 8 cells, solutions on 16 × 16: so are answers. Given on the solutions' own grid, a
    case with a finer coefficient is answered on the finer grid."""
    rng = np.random.default_rng(0)

    def cases(n, count=4):
        return [Darcy().case(permeability=np.exp(rng.standard_normal((n, n)))) for _ in range(count)]

    for cells, wanted in ((8, 16), (16, 32)):
        surrogate = Surrogate(FNO, width=4, modes=(4, 4), layers=1)
        surrogate.fit(cases(cells), solver=FiniteVolume(16), split=None, validation=None, steps=2, progress=False)
        surrogate.save(tmp_path / str(cells))
        for one in (surrogate, load(tmp_path / str(cells))):
            assert one.solve(cases(2 * cells, 1)[0])["p"].shape == (wanted, wanted)


def test_history_starts_with_the_first_frame_repeated():
    frames = np.arange(10, dtype=np.float32).reshape(10, 1, 1)
    windows = np.array([[0, 0], [1, 0], [2, 0], [5, 5], [6, 5]])
    batches = MemoryBatches(
        frames, np.zeros((10, 0), np.float32), windows, history=3, horizon=2, batch_size=5, shuffle=False
    )
    (batch,) = batches.epoch(0)
    assert batch["state"].flatten(1).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [5, 5, 5], [5, 5, 6]]
    assert batch["target"].flatten(1).tolist() == [[1, 2], [2, 3], [3, 4], [6, 7], [7, 8]]


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


def test_damaged_runs_are_refused(trained, tmp_path):
    surrogate, _ = trained
    surrogate.save(tmp_path / "run")
    config = (tmp_path / "run" / "config.json").read_text()

    def refused(match, kind=FileFormatError):
        with pytest.raises(kind, match=match):
            load(tmp_path / "run")

    (tmp_path / "run" / "config.json").write_text(config.replace('"operator": "fno"', '"operator": "fnq"'))
    refused("did you mean 'fno'", InputError)
    for where, value in (
        (("encoding", "residual"), None), (("encoding", "increment"), -5), (("encoding", "frames"), -5),
        (("operator_config", "fused"), []), (("operator_config", "width"), 17), (("options",), {}), (("training",), []),
        (("encoding", "history"), "x"), (("encoding", "fields"), []), (("encoding", "step"), None),
    ):  # fmt: skip
        changed = json.loads(config)
        place = changed
        for name in where[:-1]:
            place = place[name]
        place[where[-1]] = value
        (tmp_path / "run" / "config.json").write_text(json.dumps(changed))
        refused("config.json")
        changed["config_sha256"] = _config_digest(changed)
        (tmp_path / "run" / "config.json").write_text(json.dumps(changed))
        if where[-1] == "width":
            refused("has shape")
    (tmp_path / "run" / "config.json").write_text("[" * 100_000)
    refused("expected JSON")
    (tmp_path / "run" / "config.json").write_text(config.replace('"schema": 1', '"schema": 9'))
    refused("schema is 9")
    (tmp_path / "run" / "config.json").write_text(config.replace('"increment"', '"incremint"'))
    refused("increment")
    (tmp_path / "run" / "config.json").write_text(config[:-30])
    refused("expected JSON")
    (tmp_path / "run" / "config.json").write_text(config)
    weights = tmp_path / "run" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    refused("not those that")
    weights.write_bytes(content[:-10])
    refused("broken")
    weights.unlink()
    refused("cannot be read", InputError)
    with pytest.raises(InputError, match="there is none"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "split": "trian"}, "did you mean 'train'"),
        ({"steps": 3, "subset": "bc"}, "no subset is called 'bc'"),
        ({"steps": 3, "loss": "l2"}, "loss"),
        ({"steps": 3, "rollout": 0}, "rollout"),
        ({"steps": 3, "rollout": 40}, "41 frames"),
        ({"steps": 3, "rollout_gradient": "first"}, "rollout_gradient"),
        ({"steps": 3, "noise": -1}, "noise"),
        ({"steps": 3, "repeat_start": 0}, "repeat_start"),
        ({"steps": 3, "reflect": True}, "reflection"),
        ({"steps": 3, "batchsize": 3}, "did you mean 'batch_size'"),
        ({}, "exactly one of epochs, steps and minutes"),
    ],
)
def test_bad_arguments(burgers_set, options, message):
    with pytest.raises(InputError, match=message):
        Surrogate(FNO, width=8, modes=(4,)).fit(burgers_set, progress=False, **options)


def test_more_bad_arguments(burgers_set, tmp_path):
    with pytest.raises(InputError, match="did you mean 'fno'"):
        Surrogate("fn0")
    with pytest.raises(InputError, match="history"):
        Surrogate(FNO, history=0)
    with pytest.raises(InputError, match="not been trained"):
        Surrogate(FNO).solve(Burgers().case(), [0.0])
    with pytest.raises(InputError, match="did you mean 'width'"):
        Surrogate(FNO, widht=3)
    for options in ({"operator": 5}, {"operator": FNO, "fields": 5}, {"operator": FNO, "fields": "u"}):
        with pytest.raises(InputError, match="expected"):
            Surrogate(**options)
    with pytest.raises(InputError, match="not available here"):
        Surrogate(FNO).fit(burgers_set, steps=1, progress=False, device="cuda:99")
    with pytest.raises(InputError, match="expected the path"):
        load(5)
    with pytest.raises(InputError, match=r"did you mean .u.|known: u"):
        Surrogate(FNO, fields=["w"]).fit(burgers_set, steps=1, progress=False)
    with pytest.raises(InputError, match="no weights to train"):
        Surrogate(Identity).fit(burgers_set, steps=1, progress=False)
    with pytest.raises(InputError, match="solver: expected a solver"):
        Surrogate(FNO).fit([Burgers().case()], steps=1)
    with pytest.raises(InputError, match="data: expected a path"):
        Surrogate(FNO).fit(3, steps=1)


def test_reflected_batches_are_solutions_of_the_mirrored_case():
    """Mirror, then step, equals step, then mirror: shown on the features and frames that batches carry."""
    rng = np.random.default_rng(0)
    x = (np.arange(6) + 0.5) / 6

    def cavity(sign):
        case = LidDrivenCavity().case(lid_velocity=2.0 * sign)
        u, v = values * np.array([2.0, 2.0]).reshape(2, 1, 1, 1)
        u, v = (u, v) if sign > 0 else (-u[..., ::-1], v[..., ::-1])
        fields = {"u": (("time", "y", "x"), u), "v": (("time", "y", "x"), v)}
        return data.solution(case, np.arange(5) * 0.1, fields, {"x": x, "y": x})

    values = rng.normal(size=(2, 5, 6, 6))
    one, both = (data.pack([cavity(s) for s in signs], dtype=None) for signs in ((1,), (1, -1)))
    _, _, odd = LidDrivenCavity.reflection
    train = table(one, None)
    encoding = Encoding.fit(train, 1, True, odd)
    plain = memory_batches(train, encoding, 2, 3, seed=5)
    signs = np.array([-1.0 if n in odd else 1.0 for n in encoding.features.names])
    mirrored = Reflected(plain, -1, np.array([-1.0, 1.0]), signs, seed=5)
    every = memory_batches(table(both, None), encoding, 2, 6, seed=5, shuffle=False)
    (known,) = every.epoch(0)
    seen = set()
    for epoch in range(12):
        for batch in mirrored.epoch(epoch):
            for k in range(3):
                match = [
                    i for i in range(6)
                    if all(np.allclose(batch[n][k], known[n][i], atol=1e-6) for n in ("state", "target", "params"))
                ]  # fmt: skip
                assert len(match) == 1
                seen.add(match[0])
    assert seen == set(range(6))
    again = [b["state"] for b in Reflected(plain, -1, np.array([-1.0, 1.0]), signs, seed=5).epoch(3)]
    assert all(torch.equal(a, b["state"]) for a, b in zip(again, mirrored.epoch(3), strict=True))


def test_reflected_training_runs():
    rng = np.random.default_rng(0)
    x = (np.arange(8) + 0.5) / 8
    case = LidDrivenCavity().case()
    fields = {n: (("time", "y", "x"), rng.normal(size=(6, 8, 8))) for n in ("u", "v")}
    packed = data.pack([data.solution(case, np.arange(6) * 0.25, fields, {"x": x, "y": x})], dtype=None)
    surrogate = Surrogate(FNO, width=8, modes=(3, 3), layers=1)
    surrogate.fit(packed, split=None, validation=None, steps=4, batch_size=2, reflect=True, progress=False)
    at = surrogate.encoding.features.names.index("lid_now")
    assert surrogate.encoding.features.mean[at] == 0 and surrogate.encoding.features.std[at] == pytest.approx(1)


def test_the_mirror_is_a_symmetry_of_the_equations():
    """What `reflect` relies on: the reference solver, with the lid turned round, gives the mirror image."""
    from sciml.solvers import IncompressibleFlow

    solver = IncompressibleFlow(resolution=16)
    there, back = (solver.solve(LidDrivenCavity().case(lid_velocity=s), times=[0.5, 2.0]) for s in (1.0, -1.0))
    axis, odd, _ = LidDrivenCavity.reflection
    for name in ("u", "v"):
        sign = -1.0 if name in odd else 1.0
        mirrored = sign * back[name].values[..., ::-1]
        np.testing.assert_allclose(mirrored, there[name].values, atol=2e-5)
    assert axis == "x"


def test_training_data_from_cases_and_a_solver():
    """A surrogate may be given cases rather than data; a numerical solver then makes the solutions first."""
    from sciml.solvers import IncompressibleFlow

    cases = [LidDrivenCavity().case(viscosity=v) for v in (0.02, 0.05)]
    surrogate = Surrogate(FNO, width=8, modes=(3, 3), layers=1)
    surrogate.fit(
        cases, solver=IncompressibleFlow(resolution=8), times=np.arange(5) * 0.25, steps=3, batch_size=4,
        split=None, validation=None, progress=False,
    )  # fmt: skip
    assert surrogate.encoding.step == TimeStep("nondimensional", 0.25) and surrogate.encoding.fields == ("u", "v")
    assert surrogate.training["cases"] == 2 and surrogate.training["frames"] == 10
    found = surrogate.solve(cases[0], [0.25, 1.0])
    assert found.u.shape == (2, 8, 8) and found.attrs["solver"] == "surrogate fno"
