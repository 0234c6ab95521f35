"""What sensors measure, from the file of training to the answer at any place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from _made import QUIET, cube, hole, recipe, started, waves

from sciml import data
from sciml.errors import InputError
from sciml.solvers import SensorSurrogate, load
from sciml.studies._plan import Plan
from sciml.training import Recipe, Rollout, Running
from sciml.training.samples import table
from sciml.training.sensors import SensorBatches, SensorEncoding, Sensors

SMALL = {"width": 16, "heads": 2, "frequencies": 2, "instants": 4, "gap": 2, "queries": 40}
FRAMES = 14


def packed(**more):
    flows = [waves(cube(2, mask=hole()), s, FRAMES) for s in (0.2, 0.3, 0.4)] + [waves(cube(2), 0.25, FRAMES)]
    return data.pack(flows, ["train"] * 2 + ["validation", "train"], dtype=None, **more)


@pytest.fixture(scope="module")
def flows():
    return packed()


@pytest.fixture(scope="module")
def model(flows):
    return SensorSurrogate(**SMALL).fit(flows, recipe(4), running=QUIET)


def seen(solution, places, instants):
    """What sensors at numbers of places measure at numbers of frames, as rows."""
    points = np.stack([solution.x.values[places % 8], solution.y.values[places // 8]], 1)
    rows = np.concatenate([np.tile(points, (len(instants), 1)),
                           np.repeat(solution.time.values[instants], len(places))[:, None]], 1)  # fmt: skip
    return {"points": rows} | {n: solution[n].values.reshape(FRAMES, -1)[instants][:, places].ravel() for n in "ab"}


def case_of(solution):
    return data.case(data.pack([solution], dtype=None), 0)[0]


def test_trains_saves_and_answers_alike(flows, model, tmp_path):
    assert model.fitted and "validation" in model.metrics[-1] and model.encoding.fields == ("a", "b")
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert isinstance(again, SensorSurrogate) and again.settings == model.settings
    truth = waves(cube(2), 0.3, FRAMES)
    told = seen(truth, np.arange(3, 64, 5), np.array([0, 3, 4, 9]))
    one, other = (m.reconstruct(case_of(truth), told, [0.0, 0.33, 1.5]) for m in (model, again))
    assert one.a.shape == (3, 8, 8) and np.isfinite(one.b.values).all()
    assert all((one[n].values == other[n].values).all() for n in "ab")


def test_later_measurements_and_their_order_change_nothing(model):
    truth = waves(cube(2), 0.3, FRAMES)
    case, places = case_of(truth), np.arange(3, 64, 5)
    told = seen(truth, places, np.array([0, 3, 6, 9]))
    times = [0.1, 0.3, 0.55]
    first = model.reconstruct(case, told, times)
    later = told | {"a": np.where(told["points"][:, 2] > 0.56, 7.0, told["a"])}
    order = np.random.default_rng(0).permutation(len(told["a"]))
    turned = {n: v[order] for n, v in told.items()}
    for other, most in ((later, 0.0), (turned, 1e-5)):
        gap = model.reconstruct(case, other, times).a.values - first.a.values
        assert np.abs(gap).max() <= most
    after = model.reconstruct(case, later, [0.7]).a.values - model.reconstruct(case, told, [0.7]).a.values
    assert np.abs(after).max() > 1e-4


def test_answers_at_points_are_those_of_the_grid(model):
    truth = waves(cube(2), 0.3, FRAMES)
    told = seen(truth, np.arange(3, 64, 5), np.array([0, 3, 6]))
    whole = model.reconstruct(case_of(truth), told, [0.4])
    points = np.stack([truth.x.values[[1, 5]], truth.y.values[[2, 7]]], 1)
    some = model.reconstruct(case_of(truth), told, [0.4], points)
    assert np.abs(some.a.values[0] - whole.a.values[0, [2, 7], [1, 5]]).max() < 1e-5
    gone = told | {"b": np.where(np.arange(len(told["b"])) == 4, np.nan, told["b"])}
    kept = {n: np.delete(v, 4, 0) for n, v in told.items()}
    assert (model.reconstruct(case_of(truth), gone, [0.4]).a.values
            == model.reconstruct(case_of(truth), kept, [0.4]).a.values).all()  # fmt: skip


def test_what_is_measured_twice_counts_as_its_mean(model):
    truth = waves(cube(2), 0.3, FRAMES)
    told = seen(truth, np.arange(3, 64, 5), np.array([0, 3, 6]))
    apart = {n: np.concatenate([v, v]) for n, v in told.items()}
    for n in ("a", "b"):
        shift = 0.3 * np.random.default_rng(1).standard_normal(len(told[n]))
        apart[n] = np.concatenate([told[n] + shift, told[n] - shift])
    one, other = (model.reconstruct(case_of(truth), t, [0.4]).a.values for t in (told, apart))
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_forecasts_from_a_frame(model):
    truth = waves(cube(2, mask=hole()), 0.3, FRAMES)
    frame = truth.isel(time=[3])
    found = model.resume(case_of(truth), frame, [0.3, 0.5, 1.0])
    several = list(model.rollout([started(truth, 3)], np.array([[0.3, 0.5, 1.0]])))
    assert np.abs(np.stack([s[0][0] for s in several]) - found.a.values).max() < 1e-6
    assert (found.a.values[:, hole() == 0] == 0).all()


def test_samples_are_a_function_of_seed_epoch_and_number(flows):
    train = table(flows, "train")
    e = SensorEncoding.fit(train, Sensors((0.1, 0.5), 4, 3, 20), "float64")
    several = [SensorBatches(train, e, batch_size=4, seed=1) for _ in range(2)]
    first, again = list(several[0].epoch(2)), list(several[1].epoch(2, start=1))
    assert len(first) == len(several[0]) and torch.equal(first[1].batch.values, again[0].batch.values)
    shares = []
    for b in first:
        count = b.batch.seen.amax(1).sum(-1)
        shares += (count / 64).tolist()
        assert (b.batch.instants.diff(dim=1) > 0).all() and (b.batch.points[..., -1] >= 0).all()
        # what is asked for is the wave at these places and times, in units of the fields' scale
        angle = 2 * np.pi * b.batch.points[..., :2].sum(-1)
        assert (b.target.square() * torch.tensor(e.state.scale)[:, None] ** 2).sum(1).allclose(torch.ones_like(angle))
    assert min(shares) < 0.25 < max(shares) <= 0.5


def test_double_and_going_on(flows):
    model = SensorSurrogate(**SMALL).fit(flows, recipe(2, precision="float64"), running=QUIET, validation=None)
    before = {n: v.clone() for n, v in model.operator.state_dict().items()}
    assert all(v.dtype == torch.float64 for v in before.values())
    model.fit(flows, recipe(2, precision="float64"), running=QUIET, validation=None)
    assert any(not torch.equal(v, model.operator.state_dict()[n]) for n, v in before.items())


def test_plans_train_it(flows, tmp_path):
    data.write(packed(), tmp_path / "flows.h5")
    plan = Plan("continuous_from_sparse", {"width": 8, "heads": 2}, recipe(1))
    assert Plan.from_json(plan.to_json()) == plan
    found = plan.train(tmp_path / "flows.h5", Running(out=tmp_path / "run", progress=False))
    assert isinstance(found, SensorSurrogate) and load(tmp_path / "run").operator_name == "continuous_from_sparse"


def test_refuses(flows, model):
    truth = waves(cube(2), 0.3, FRAMES)
    case, told = case_of(truth), seen(truth, np.arange(3, 64, 5), np.array([2, 6]))
    for call, message in (
        (lambda: SensorSurrogate("fno"), "operator: fno takes no sensors"),
        (lambda: SensorSurrogate(share=(0.3, 0.1)), "share: expected two numbers"),
        (lambda: SensorSurrogate(instants=0), "instants: expected a whole number"),
        (lambda: SensorSurrogate().reconstruct(case, told, [0.3]), "has not been trained"),
        (lambda: SensorSurrogate(instants=20).fit(flows, recipe(), running=QUIET), "instants: expected fewer than"),
        (lambda: model.fit(flows, Recipe(objective=Rollout()), running=QUIET), "objective: expected Supervised"),
        (lambda: model.reconstruct(case, told, [0.1]), "times: expected times from the first measurement"),
        (lambda: model.reconstruct(case, {n: told[n] for n in ("points", "a")}, [0.3]), "b: expected values"),
        (lambda: model.resume(case, truth.drop_vars("b").isel(time=[0]), [0.3]), "has no field 'b'"),
    ):
        with pytest.raises(InputError, match=message):
            call()
