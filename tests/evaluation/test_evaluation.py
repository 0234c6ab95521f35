"""The evaluation protocol against sums written out by hand."""

import json
import math
import weakref

import numpy as np
import pytest
import torch

import sciml
from sciml import data, metrics
from sciml.errors import InputError, SolverError
from sciml.evaluation import _held, evaluate
from sciml.operators import FNO
from sciml.problems import Burgers, Darcy, TaylorGreen
from sciml.solver import Restartable, Solver
from sciml.solvers import FiniteVolume, Persistence, Surrogate
from sciml.solvers._frames import support_of
from sciml.training import AdamW, Autoregressive
from sciml.training.samples import CaseTable

N = 32


def burgers(reynolds, frames, subset, velocity=1.0):
    case = Burgers().case(viscosity=velocity / reynolds, velocity=velocity, subset=subset)
    times = np.arange(frames) * 0.05 / velocity
    x = (np.arange(N) + 0.5) / N
    return data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x})


@pytest.fixture(scope="module")
def packed():
    """Held-out cases of different lengths and speeds in two subsets."""
    train = [burgers(r, 9, s) for r in (10, 20, 40, 80) for s in ("a", "b")]
    test = [burgers(15, 9, "a"), burgers(30, 5, "a", velocity=4.0), burgers(60, 9, "b", velocity=0.5)]
    return data.pack([*train, *test], splits=["train"] * len(train) + ["test"] * len(test), dtype=None)


class Scaled(Solver):
    """Knows the answer and gives it times a constant: an error of known size. Cannot be restarted."""

    name = "scaled"

    def __init__(self, factor, n=N):
        self.factor, self.n = factor, n

    def supports(self, problem):
        return True

    def _solve(self, case, times):
        x = (np.arange(self.n) + 0.5) / self.n
        fields = {"u": (("time", "x"), self.factor * case.exact(times, (x,))["u"])}
        return data.solution(case, times, fields, {"x": x})


def trained(packed, steps, seed=0, width=8, lr=4e-3, stepping=None, modes=(6,)):
    recipe = sciml.Recipe(length=sciml.Steps(steps), batch=8, optimiser=AdamW(lr=lr), seed=seed)
    made = Surrogate(FNO, stepping, width=width, modes=modes, layers=1)
    return made.fit(packed, recipe, validation=None, running=sciml.Running(progress=False))


def truths(packed):
    return [data.case(packed, i)[1].u.values / data.case(packed, i)[0].velocity for i in (8, 9, 10)]


def test_pooling_by_hand(packed):
    found = evaluate({"scaled": Scaled(1.1)}, packed, steps=4)
    row, still = found.row("scaled"), found.row("persistence")
    starts = [(i, f) for q in (0, 0.25, 0.5) for i, f in enumerate([int(q * 8), int(q * 4), int(q * 8)])]
    u = truths(packed)
    for subset, members in (("all", (0, 1, 2)), ("a", (0, 1)), ("b", (2,))):
        assert found.summary["rollouts"][subset] == 3 * len(members)
        for k in range(1, 5):
            reach = [(i, f) for i, f in starts if i in members and f + k < len(u[i])]
            error = sum(((u[i][f] - u[i][f + k]) ** 2).mean() for i, f in reach)
            label = sum((u[i][f + k] ** 2).mean() for i, f in reach)
            frames = np.mean([((u[i][f] - u[i][f + k]) ** 2).mean() / (u[i][f + k] ** 2).mean() for i, f in reach])
            assert still["rollout"][subset]["joint"]["nmse"]["mean"][k - 1] == pytest.approx(error / label)
            assert still["rollout"][subset]["u"]["nmse_per_frame"]["mean"][k - 1] == pytest.approx(frames)
            # an error of a tenth of the truth, however it is pooled
            assert row["rollout"][subset]["joint"]["nmse"]["mean"][k - 1] == pytest.approx(0.01)
            assert row["rollout"][subset]["joint"]["nmse_per_frame"]["mean"][k - 1] == pytest.approx(0.01)
    one = still["one_step"]["all"]["joint"]["nmse"]["mean"]
    assert one == still["rollout"]["all"]["joint"]["nmse"]["mean"][0]
    assert row["gain"]["all"]["joint"] == pytest.approx(one / 0.01) and still["gain"]["all"]["joint"] == 1.0
    every = sum(((f[1:] - f[:-1]) ** 2).mean(1).sum() for f in u) / sum((f[1:] ** 2).mean(1).sum() for f in u)
    assert still["every_frame"]["all"]["joint"]["nmse"]["mean"] == pytest.approx(every)
    # physical units: the case at four times the speed rules
    speeds = (1.0, 4.0, 0.5)
    squares = [((u[i][f] - u[i][f + 1]) ** 2).mean() * speeds[i] ** 2 for i, f in starts]
    assert still["one_step"]["all"]["u"]["mse"]["mean"] == pytest.approx(np.mean(squares))
    absolutes = [np.abs(u[i][f] - u[i][f + 1]).mean() * speeds[i] for i, f in starts]
    assert still["one_step"]["all"]["u"]["mae"]["mean"] == pytest.approx(np.mean(absolutes))


def test_rollouts_are_no_longer_than_the_cases(packed):
    found = evaluate(Scaled(1.1), packed, steps=20)
    assert found.summary["steps"] == 8 and found.errors.sizes["step"] == 8
    assert np.isfinite(found.row("scaled")["rollout"]["all"]["joint"]["nmse"]["mean"]).all()


def test_arrays_hold_what_the_summary_says(packed):
    found = evaluate(Scaled(0.9), packed, steps=3)
    errors = found.errors.sel(row="scaled").isel(run=0)
    pooled = errors.error_square.sum(("rollout", "field")) / errors.label_square.where(
        np.isfinite(errors.error_square)
    ).sum(("rollout", "field"))
    np.testing.assert_allclose(pooled, found.row("scaled")["rollout"]["all"]["joint"]["nmse"]["mean"])
    assert set(found.errors.start.values) == {"0", "1/4", "1/2"} and list(found.errors.step.values) == [1, 2, 3]
    u = truths(packed)
    (a, b) = found.examples
    assert {a["subset"], b["subset"]} == {"a", "b"}
    np.testing.assert_allclose(a["truth"][:, 0], u[0][1:4])
    np.testing.assert_allclose(a["predictions"]["scaled"], 0.9 * a["truth"])
    assert a["predictions"].keys() == {"persistence", "mean field", "interpolation", "scaled"}
    json.loads(found.to_json())


def test_seeds_make_one_row_with_spread(packed):
    torch.set_num_threads(1)
    runs = [trained(packed, 30, seed=s) for s in (0, 1)]
    found = evaluate(runs, packed, steps=3)
    row = found.row("FNO")
    assert row["title"] == "FNO" and row["restarts"] is True
    assert row["runs"] == 2 and row["kind"] == "learned" and len(row["training"]) == 2
    each = [evaluate(r, packed, steps=3, baselines=False).row("FNO") for r in runs]
    figures = [e["one_step"]["all"]["joint"]["nmse"]["mean"] for e in each]
    assert row["one_step"]["all"]["joint"]["nmse"]["mean"] == pytest.approx(np.mean(figures))
    assert row["one_step"]["all"]["joint"]["nmse"]["std"] == pytest.approx(np.std(figures)) and figures[0] != figures[1]
    assert 0 < row["seconds_per_step"]["alone"] < 1
    # another size, another length of training: not the same model, so no seed of it
    others = [trained(packed, 2, width=6), trained(packed, 2, width=8), trained(packed, 2, width=8, lr=1e-3)]
    found = evaluate([runs[0], *others, runs[1]], packed, steps=2, baselines=False)
    assert [r["name"] for r in found.summary["rows"]] == ["FNO", "FNO 2", "FNO 3", "FNO 4"]
    assert [r["runs"] for r in found.summary["rows"]] == [2, 1, 1, 1]


def test_other_grids_are_interpolated(packed):
    found = evaluate(Scaled(1.0, n=4 * N), packed, steps=3, baselines=[Persistence().fit(packed)])
    assert found.row("scaled")["one_step"]["all"]["u"]["nmse"]["mean"] < 1e-4
    assert [r["name"] for r in found.summary["rows"]] == ["persistence", "scaled"]


def test_further_figures():
    """Correlation time, spectrum and divergence of a decaying vortex that a solver lets decay too slowly."""

    def vortex(viscosity, factor=1.0):
        case = TaylorGreen().case(viscosity=viscosity)
        times = np.arange(7) * 0.5
        x = (np.arange(16) + 0.5) * case.length / 16
        exact = case.exact(times, (x, x))
        fields = {k: (("time", "y", "x"), exact[k] * factor) for k in ("u", "v")}
        return data.solution(case, times, fields, {"x": x, "y": x})

    packed = data.pack([vortex(v) for v in (0.1, 0.2, 0.3)], splits=["train", "train", "test"], dtype=None)

    class Twice(Solver):
        name = "twice"

        def supports(self, problem):
            return True

        def _solve(self, case, times):
            return vortex(case.viscosity, 2.0)

    found = evaluate(Twice(), packed, steps=3, baselines=[Persistence().fit(packed)])
    row = found.row("twice")
    assert row["correlation_time"]["all"] == {"median": math.inf, "never": 1.0}  # a factor does not spoil it
    np.testing.assert_allclose(row["spectrum_error"]["all"]["mean"], 3.0, rtol=1e-9)
    # the exact vortex is free of divergence in its central differences, too
    np.testing.assert_allclose(found.summary["divergence_of_truth"]["mean"], 0, atol=1e-6)
    assert json.loads(found.to_json())["rows"][1]["correlation_time"]["all"]["median"] is None
    k2 = 2.0  # |k|² of the vortex: persistence keeps what decays by e^(-ν k² t)
    decay = math.exp(-0.3 * k2 * 0.5)
    still = found.row("persistence")
    assert still["one_step"]["all"]["joint"]["nmse"]["mean"] == pytest.approx((1 / decay - 1) ** 2, rel=1e-4)
    assert metrics.nmse(np.ones(2), np.full(2, decay)) == pytest.approx((1 / decay - 1) ** 2)


def test_public_name():
    assert sciml.evaluate is evaluate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number"),
        ({"examples": None}, "examples: expected a whole number"),
        ({"starts": None}, "starts: expected shares"),
        ({"starts": "0"}, "starts: expected shares"),
        ({"baselines": 3}, "baselines: expected True, False or fitted baselines, got int"),
        ({"starts": ["1/0"]}, "starts"),
        ({"starts": [1.0]}, r"shares in \[0, 1\)"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"split": "validation"}, "no case of the data set is in split 'validation'"),
        ({"subset": "c"}, "no subset is called 'c'; known: a, b"),
    ],
)
def test_bad_arguments(packed, arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(Scaled(1.0), packed, **arguments)


def test_more_bad_arguments(packed, tmp_path):
    with pytest.raises(InputError, match="two rows are called 'persistence'"):
        evaluate({"persistence": Scaled(1.0)}, packed)
    with pytest.raises(InputError, match="'a' has no run"):
        evaluate({"a": []}, packed)
    with pytest.raises(InputError, match="solvers: expected at least one"):
        evaluate([], packed, baselines=False)
    with pytest.raises(InputError, match="there is none"):
        evaluate(tmp_path / "nothing", packed)
    with pytest.raises(InputError, match="expected run directories or solvers, got int"):
        evaluate([3], packed)


# -- steady problems --------------------------------------------------------------------------------------------------


def layered(a, source=1.0, subset="", mask=None):
    """Two layers of different permeability, solved by finite volumes on 16 × 16 cells; 7 in solid cells, if any."""
    n = 16
    field = np.where((np.arange(n) + 0.5) / n < 0.5, a, 1.0) * np.ones((n, 1))
    case = Darcy().case(permeability=field, source=source, subset=subset)
    solved = FiniteVolume(n).solve(case)
    values = solved.p.values if mask is None else np.where(mask != 0, solved.p.values, 7.0)
    coords = {"x": solved.x.values, "y": solved.y.values}
    return data.solution(case, None, {"p": (("y", "x"), values)}, coords, mask=mask)


class Known(Solver):
    """The solver's own answer times a constant; fails where told to."""

    name = "known"

    def __init__(self, factor=1.0, n=16, failing=()):
        self.factor, self.n, self.failing = factor, n, failing

    def supports(self, problem):
        return True

    def _solve(self, case, times):
        assert times is None
        if case.source in self.failing:
            raise SolverError("no convergence")
        solved = FiniteVolume(self.n).solve(case)
        fields = {"p": (("y", "x"), self.factor * solved.p.values)}
        return data.solution(case, None, fields, {"x": solved.x.values, "y": solved.y.values})


@pytest.fixture(scope="module")
def steady():
    train = [layered(a, s) for a in np.geomspace(0.1, 10, 9) for s in (1.0, -2.0, 3.0)]
    test = [layered(0.5, subset="soft"), layered(4.0, 3.0, subset="hard")]
    return data.pack([*train, *test], splits=["train"] * len(train) + ["test"] * 2, dtype=None)


def test_steady_problems_by_hand(steady):
    """One step, no starts; the mean field is in units of the source and what a gain is measured from."""
    found = evaluate({"known": Known(1.1)}, steady, steps=7)
    assert [r["name"] for r in found.summary["rows"]] == ["mean field", "interpolation", "known"]
    assert found.summary["steps"] == 1 and found.summary["starts"] == []
    assert found.summary["rollouts"] == {"all": 2, "hard": 1, "soft": 1}
    row, mean = found.row("known"), found.row("mean field")
    for subset in ("all", "soft", "hard"):
        assert row["one_step"][subset]["p"]["nmse"]["mean"] == pytest.approx(0.01)
        assert row["rollout"][subset]["joint"]["relative_l2"]["mean"] == pytest.approx([0.1])
    unit = np.stack([data.case(steady, i)[1].p.values / data.case(steady, i)[0].scales.fields["p"] for i in range(29)])
    middle = unit[:27].mean(0)
    pooled = ((middle - unit[27:]) ** 2).sum() / (unit[27:] ** 2).sum()
    assert mean["one_step"]["all"]["joint"]["nmse"]["mean"] == pytest.approx(pooled, rel=1e-5)
    assert row["gain"]["all"]["joint"] == pytest.approx(pooled / 0.01, rel=1e-5)
    squares = [0.01 * (unit[i] ** 2).mean() * s**2 for i, s in ((27, 0.1), (28, 0.3))]
    assert row["one_step"]["all"]["p"]["mse"]["mean"] == pytest.approx(np.mean(squares))
    assert math.isnan(row["correlation_time"]["all"]["median"]) and not row["every_frame"]["all"]
    smooth = found.row("interpolation")["one_step"]["all"]["joint"]["nmse"]["mean"]
    assert smooth < 0.01 * pooled  # one smooth parameter family: interpolation knows it
    (one,) = [e for e in found.examples if e["subset"] == "hard"]
    np.testing.assert_allclose(one["predictions"]["known"], 1.1 * one["truth"])
    json.loads(found.to_json())


def test_steady_answers_on_other_grids_and_failures(steady):
    found = evaluate(Known(n=16), steady, baselines=False, subset="hard")
    assert found.row("known")["one_step"]["all"]["p"]["nmse"]["mean"] < 1e-20
    homogeneous = []
    for case in (Darcy().case(source=1.0), Darcy().case(source=2.0)):
        solved = FiniteVolume(16).solve(case)
        coords = {"x": solved.x.values, "y": solved.y.values}
        homogeneous.append(data.solution(case, None, {"p": (("y", "x"), solved.p.values)}, coords))
    packed = data.pack(homogeneous, splits=["train", "test"], dtype=None)
    assert evaluate(Known(n=64), packed, baselines=False).row("known")["one_step"]["all"]["p"]["nmse"]["mean"] < 1e-4
    with pytest.warns(UserWarning, match="case 28 has no answer: no convergence"):
        failed = evaluate(Known(1.1, failing=(3.0,)), steady, baselines=False)
    one_step = json.loads(failed.to_json())["rows"][0]["one_step"]
    assert one_step["hard"]["p"]["nmse"]["mean"] is None
    assert one_step["soft"]["p"]["nmse"]["mean"] == pytest.approx(0.01)


def test_steady_answers_on_stretched_grids():
    """All cases are the same in units of their source, so the mean of the training cases is the answer; that of another
    grid is interpolated to the cells where they are."""
    solver = FiniteVolume(16, stretching=2.0)
    solved = [solver.solve(Darcy().case(source=s)) for s in (1.0, 2.0, 3.0, 1.5)]
    packed = data.pack(solved, splits=["train"] * 3 + ["test"], dtype=None)
    found = evaluate({"known": Known()}, packed)
    assert found.row("mean field")["one_step"]["all"]["p"]["nmse"]["mean"] < 1e-10
    other, same = Known(n=16).solve(data.case(packed, 3)[0]), solved[3].p.values
    p = support_of(data.case(packed, 3)[0], other).onto(other.p.values, data.case(packed, 3)[0].support)
    w = data.case(packed, 3)[0].support.weights()
    by_hand = (w * (p - same) ** 2).sum() / (w * same**2).sum()
    assert found.row("known")["one_step"]["all"]["p"]["nmse"]["mean"] == pytest.approx(by_hand)
    assert by_hand < 0.02 and found.summary["support"] == "grid of 16 × 16 cells, stretched"
    assert np.isnan(found.row("known")["spectrum_error"]["all"]["mean"]).all()  # of uniform grids alone


def test_a_row_that_failed_gains_nothing(steady):
    with pytest.warns(UserWarning, match="no answer"):
        row = evaluate({"known": Known(failing=(1.0, 3.0))}, steady).row("known")
    assert math.isnan(row["gain"]["all"]["joint"])


def test_without_a_training_split_there_are_no_baselines(steady):
    held = data.pack([layered(0.5), layered(2.0)], splits=["test", "test"], dtype=None)
    with pytest.warns(UserWarning, match="no case of the data set is in split 'train'"):
        found = evaluate(Known(), held)
    assert [r["name"] for r in found.summary["rows"]] == ["known"] and found.summary["subsets"] == ["all"]


def test_coarse_answers_are_interpolated_across_a_periodic_seam():
    def wave(n, case):
        x = (np.arange(n) + 0.5) / n
        values = np.sin(2 * np.pi * (x - 0.1)) * np.ones((3, 1))
        return data.solution(case, [0.0, 0.1, 0.2], {"u": (("time", "x"), values)}, {"x": x})

    class Coarse(Known):
        def _solve(self, case, times):
            return wave(8, case)

    packed = data.pack([wave(32, Burgers().case())], splits=["test"], dtype=None)
    found = evaluate(Coarse(), packed, baselines=False, steps=1, starts=[0])
    (one,) = found.examples
    error = np.abs(one["predictions"]["known"] - one["truth"])[0, 0]
    assert error[[0, -1]].max() < 0.08 and error.max() < 0.08  # h²/8 · max|u''|


def test_steady_errors_leave_solid_cells_out():
    mask = np.ones((16, 16), np.int8)
    mask[4:8, 4:12] = 0
    packed = data.pack([layered(0.5, mask=mask), layered(2.0, mask=mask)], splits=["train", "test"], dtype=None)
    found = evaluate(Known(1.1), packed, baselines=False)
    assert found.row("known")["one_step"]["all"]["p"]["nmse"]["mean"] == pytest.approx(0.01)


def test_a_steady_surrogate(steady, tmp_path):
    torch.set_num_threads(1)
    trained(steady, 60, modes=(4, 4)).save(tmp_path / "fno")
    made = sciml.load(tmp_path / "fno")
    found = evaluate(tmp_path / "fno", steady)
    row = found.row("FNO")
    own = made.solve(data.case(steady, 27)[0]).p.values - data.case(steady, 27)[1].p.values
    soft = (own**2).sum() / (data.case(steady, 27)[1].p.values ** 2).sum()
    assert row["one_step"]["soft"]["p"]["nmse"]["mean"] == pytest.approx(soft, rel=1e-4)
    assert row["restarts"] is None and row["title"] == "FNO" and len(row["training"]) == 1


# -- steps of several frames, and streams -----------------------------------------------------------------------------


def test_a_step_spans_as_many_frames_as_all_rows_can(packed):
    """The step of one model spans two frames, that of the other three: all rows are held against every sixth."""
    two, three = (trained(packed, 3, stepping=Autoregressive(step=n, history=n)) for n in (2, 3))
    found = evaluate([two, three], packed, steps=5, starts=[0])
    assert found.summary["every"] == 6 and found.summary["steps"] == 1
    assert found.summary["rollouts"] == {"all": 2, "a": 1, "b": 1}  # one case has five frames
    u = truths(packed)
    still = ((u[0][0] - u[0][6]) ** 2).mean() + ((u[2][0] - u[2][6]) ** 2).mean()
    label = (u[0][6] ** 2).mean() + (u[2][6] ** 2).mean()
    assert found.row("persistence")["one_step"]["all"]["u"]["nmse"]["mean"] == pytest.approx(still / label)
    case, truth = data.case(packed, 8)
    own = two.resume(case, truth.isel(time=slice(0, 1)), truth.time.values[[2, 4, 6]]).u.values[-1]
    error = found.errors.error_square.sel(row="FNO").values[0, 0, 0, 0]
    assert error == pytest.approx(((own - u[0][6]) ** 2).mean(), rel=1e-4)
    alone = evaluate([two], packed, steps=5, baselines=False)
    assert alone.summary["every"] == 2 and alone.summary["steps"] == 4
    every = alone.row("FNO")["every_frame"]["all"]["joint"]["nmse"]["mean"]
    assert np.isfinite(every)


class Stub(Restartable):
    """Answers frame by frame, the truth plus a constant, and looks at what it is given and what others hold of it."""

    name = "stub"
    title = "A stub"
    history = 3

    def __init__(self):
        self.alive, self.most, self.starts = weakref.WeakSet(), 0, []

    def supports(self, problem):
        return True

    def _solve(self, case, times):
        raise AssertionError("a solver that can be restarted is restarted")

    resume = _solve

    def rollout(self, starts, times):
        self.starts += list(starts)
        for j in range(times.shape[1]):
            frames = [Frame(s.case.exact(t[j : j + 1], s.support.centres)["u"] + 0.5 * s.case.velocity)
                      for s, t in zip(starts, times, strict=True)]  # fmt: skip
            self.alive.update(frames)
            if times.shape[1] > 1:
                self.most = max(self.most, len(self.alive) // len(starts))
            yield frames
            del frames


class Frame(np.ndarray):
    """An array that can be counted."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __new__(cls, values):
        return np.array(values).view(cls)


def test_rollouts_are_streamed(monkeypatch):
    """Sixty steps, of which never more than one or two are alive; of the truth no more than a frame is read at once."""
    long = [burgers(r, 61, "a") for r in (20, 40, 80)]
    packed = data.pack(long, splits=["train", "test", "test"], dtype=None)
    monkeypatch.setattr(_held, "LIMIT", 2**14)
    read = []
    frames = CaseTable.frames

    def counted(self, i, rows=None):
        found = frames(self, i, rows)
        read.append(len(found))
        return found

    monkeypatch.setattr(CaseTable, "frames", counted)
    stub = Stub()
    found = evaluate(stub, packed, steps=60, starts=[0], examples=0, baselines=False)
    row = found.row("A stub")
    assert stub.most <= 2 and set(read) == {1} and found.summary["steps"] == 60
    np.testing.assert_allclose(row["rollout"]["all"]["u"]["mse"]["mean"], 0.25)
    first, last = stub.starts[0], stub.starts[-1]
    u = data.case(packed, 2)[1].u.values
    np.testing.assert_array_equal(first.frames[:, 0], data.case(packed, 1)[1].u.values[[0, 0, 0]])
    np.testing.assert_array_equal(last.frames[:, 0], u[57:60])  # from every frame but the last: three frames up to it
    assert last.time == pytest.approx(59 * 0.05) and last.beginning[1] == 0
    np.testing.assert_array_equal(last.beginning[0][0], u[0])


def test_what_became_infinite_is_lost_there(packed):
    class Breaks(Stub):
        def rollout(self, starts, times):
            for j in range(times.shape[1]):
                yield [s.case.exact(t[j : j + 1], s.support.centres)["u"] * (np.nan if j > 1 else 1.0)
                       for s, t in zip(starts, times, strict=True)]  # fmt: skip

    row = evaluate(Breaks(), packed, steps=4, starts=[0], baselines=False).row("A stub")
    nmse = row["rollout"]["all"]["joint"]["nmse"]["mean"]
    assert nmse[0] == pytest.approx(0, abs=1e-20) and np.isnan(nmse[2:]).all()
    assert row["correlation_time"]["all"] == {"median": pytest.approx(0.15), "never": 0.0}


def test_baselines_that_do_not_suit_the_data_are_left_out():
    """Training cases that begin at different times have no mean at equal times."""
    made = [burgers(10, 9, "a"), burgers(20, 9, "a").isel(time=slice(4, None)), burgers(15, 9, "a")]
    packed = data.pack(made, splits=["train", "train", "test"], dtype=None)
    with pytest.warns(UserWarning, match="no row .*training cases begin at 0 to 0.2"):
        found = evaluate(Scaled(1.1), packed, steps=2)
    assert [r["name"] for r in found.summary["rows"]] == ["persistence", "scaled"]
