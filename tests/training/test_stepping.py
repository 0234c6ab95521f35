"""What a training item is, by hand, for every way of treating time."""

import numpy as np
import pytest

from sciml import data
from sciml.errors import InputError
from sciml.problems import DataProblem, LidDrivenCavity
from sciml.support import Grid
from sciml.training import Autoregressive, Query, Steady, Stepping, Window
from sciml.training.batches import LoaderBatches, MemoryBatches
from sciml.training.encoding import GridEncoding
from sciml.training.samples import TimeStep, table, time_step

GRID = Grid((np.linspace(0, 1, 4),))
P = DataProblem("decay", ["u"], ["rate"], dimensions=1)


def solution(times, rate=1.0):
    values = np.exp(-rate * np.asarray(times))[:, None] * np.ones(3)
    return data.solution(P.case(rate=rate).on(GRID), times, {"u": (("time", "x"), values)}, GRID)


def cases(*clocks):
    return table(data.pack([solution(t) for t in clocks], dtype=None), None)


def lists(*arrays):
    return [a.tolist() for a in arrays]


def test_steady():
    s = Steady()
    present = s.items(1, 1)
    assert lists(present, s.after(present, 1)) == [[0], [[[0]]]] and s.before(present).shape == (1, 0)
    assert (s.past, s.ahead, s.residual, s.queries) == (0, 1, False, False) and s.time_step(cases([0.0, 1.0])) is None
    assert s.feature_step(None, P.case()) == 0


def test_autoregressive_with_step_and_history():
    s = Autoregressive(step=2, history=3)
    present = s.items(8, 2)
    assert present.tolist() == [0, 1, 2, 3]  # four frames on, up to number 7
    assert s.before(present).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 3]]
    assert s.after(present, 2).tolist() == [[[2], [4]], [[3], [5]], [[4], [6]], [[5], [7]]]
    assert (s.past, s.ahead, s.every, s.residual) == (3, 1, 2, True) and not Autoregressive(increments=False).residual
    step = s.time_step(cases(np.arange(5) * 0.25))
    assert step == TimeStep("physical", 0.5) and s.feature_step(step, P.case()) == 0.5
    assert s.items(4, 2).size == 0


def test_strides():
    s = Autoregressive(step=2, strides=3)
    assert lists(s.items(9, 1), s.items(9, 1, 3), s.items(9, 2, 3)) == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2], []]
    assert s.after(np.array([0, 1]), 2, np.array([1, 3])).tolist() == [[[2], [4]], [[7], [13]]]
    assert (s.every, s.longest, Autoregressive().longest) == (2, 3, 1)
    with pytest.raises(InputError, match="expected 1 where operators see 2 frames"):
        Autoregressive(history=2, strides=2)


def test_batches_of_strides_hold_what_their_step_leads_to():
    """Of exponential decay: each target is its present times exp(-rate · step), with the step that its parameters say;
    without shuffling, as for validation, all span one step."""
    known = cases(np.arange(6) * 0.25, np.arange(4) * 0.25)
    e = GridEncoding.fit(known, Autoregressive(strides=3), dtype="float64")
    at = e.features.names.index("step")
    for horizon, items in ((1, 5 + 4 + 3 + 3 + 2 + 1), (2, 4 + 2 + 2)):
        made = MemoryBatches(known, e, batch_size=100, horizon=horizon)
        assert len(made.items) == items
        batch = made.batch(np.arange(items))
        step = batch.params[..., at].numpy() * e.features.std[at] + e.features.mean[at]  # (item, horizon)
        assert set(np.round(step[:, 0] / 0.25).astype(int)) == {1, 2, 3} if horizon == 1 else {1, 2}
        offset, scale = e.state.offset[0], e.state.scale[0]
        start = batch.state[:, 0, 0, 0].numpy() * scale + offset
        targets = batch.target[:, :, 0, 0].numpy() * scale + offset
        np.testing.assert_allclose(targets, start[:, None] * np.exp(-np.cumsum(step, axis=1)), rtol=1e-12)
    plain = MemoryBatches(known, e, batch_size=100, shuffle=False)
    assert len(plain.items) == 5 + 3 and (plain.items[:, 3] == 1).all()
    decay = np.exp(-0.25 * np.arange(6))
    moves = np.concatenate([decay[k:n] - decay[: n - k] for n in (6, 4) for k in (1, 2, 3)])
    np.testing.assert_allclose(e.increment[0] * e.state.scale, np.sqrt((moves**2).mean()), rtol=1e-12)


def test_strides_are_refused_where_nothing_tells_the_step(tmp_path):
    class Mute(DataProblem):
        def features(self, case, time, time_step):
            return {"rate": case.parameters["rate"]}

    known = cases(np.arange(6) * 0.25)
    known.cases[0] = Mute("mute", ["u"], ["rate"], dimensions=1).case(rate=1.0).on(GRID)
    known.problem = known.cases[0].problem
    with pytest.raises(InputError, match="features tell the step"):
        GridEncoding.fit(known, Autoregressive(strides=2))
    e = GridEncoding.fit(cases(np.arange(6) * 0.25), Autoregressive(strides=2))
    with pytest.raises(InputError, match="strides cannot be read as they are needed"):
        LoaderBatches(cases(np.arange(6) * 0.25), e, tmp_path / "none.h5")


def test_window():
    s = Window(3, 2, step=2)
    present = s.items(11, 2)
    assert present.tolist() == [0, 1, 2]
    assert s.before(present).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert s.after(present, 2)[1].tolist() == [[3, 5], [7, 9]]
    assert (s.past, s.ahead, s.every) == (3, 2, 2)
    step = s.time_step(cases(np.arange(5) * 0.25))
    assert s.feature_step(step, P.case()) == 1.0  # one application spans two steps of two frames


def test_query():
    s = Query()
    present = s.items(3, 1)
    assert lists(present, s.before(present), s.after(present, 1)) == [[0, 1, 2], [[0]] * 3, [[[0]], [[1]], [[2]]]]
    assert s.queries and s.past == 1 and not s.residual
    times = np.array([1.0, 1.5, 4.0])
    assert s.feature_times(times, None, P.case()).tolist() == [1.0]
    assert s.time_step(cases(times, [0.0, 1.0, 2.0])) == TimeStep("physical", 3.0)
    assert s.sees_start(lambda: True) and not s.sees_start(lambda: False)
    assert Query(True).sees_start(lambda: False) and not Query(False).sees_start(lambda: True)
    with pytest.raises(InputError, match="no time to ask for"):
        s.time_step(cases([0.0]))


@pytest.mark.parametrize("s", [Steady(), Autoregressive(2, 3, False), Window(3, 2, 4), Query(False), Query()])
def test_json_round_trip(s):
    assert Stepping.from_json(s.to_json()) == s


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Autoregressive(step=0), "step"),
        (lambda: Autoregressive(history=0), "history"),
        (lambda: Window(0, 1), "n_in"),
        (lambda: Window(1, 0), "n_out"),
        (lambda: Steady().check(P), "changes in time"),
        (lambda: Query().check(DataProblem("a", ["u"], steady=True)), "steady"),
        (lambda: Autoregressive().check(DataProblem("a", ["u"], steady=True)), "steady"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_time_step_of_data():
    x = (np.arange(4) + 0.5) / 4

    def cavity(speed, dt, frames=4):
        zero = np.zeros((frames, 4, 4))
        fields = {"u": (("time", "y", "x"), zero), "v": (("time", "y", "x"), zero)}
        case = LidDrivenCavity().case(lid_velocity=speed)
        return data.solution(case, np.arange(frames) * dt, fields, {"x": x, "y": x})

    def of(*solutions, every=1):
        return time_step(table(data.pack(solutions, dtype=None), None), every)

    assert of(cavity(1.0, 0.25), cavity(4.0, 0.0625)) == TimeStep("nondimensional", 0.25)
    assert of(cavity(1.0, 0.1), cavity(4.0, 0.1)) == TimeStep("physical", 0.1)
    assert of(cavity(1.0, 0.1), cavity(4.0, 0.1, frames=1), every=3) == TimeStep("nondimensional", 0.3)
    with pytest.raises(InputError, match=r"time steps differ between cases, 0\.1 to 0\.3 s"):
        of(cavity(1.0, 0.1), cavity(4.0, 0.3))
    with pytest.raises(InputError, match="unequal time steps"):
        of(cavity(1.0, 0.1).assign_coords(time=[0.0, 0.1, 0.2, 0.35]))
    with pytest.raises(InputError, match="no step to learn"):
        of(cavity(1.0, 0.1, frames=1))


def test_numbers_of_steps():
    step = TimeStep("nondimensional", 0.25)
    case = LidDrivenCavity().case(lid_velocity=2.0)  # L/U = 0.5 s
    assert step.of(case) == 0.125
    assert step.index(case, np.array([0.5, 0.5 + 1e-6, 1.0]), start=0.25).tolist() == [2, 2, 6]
    with pytest.raises(InputError, match=r"0\.3 s cannot be reached .* 0\.125 s .* nearest times are 0\.25 and 0\.375"):
        step.index(case, np.array([0.25, 0.3]))
