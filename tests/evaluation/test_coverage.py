"""Coverage of bands against sums written out by hand, by quadrature, on meshes of other sizes."""

import numpy as np
import pytest
from test_supports import mesh

from sciml import data
from sciml.errors import InputError
from sciml.evaluation import coverage, resplits
from sciml.problem import Case
from sciml.problems import DataProblem
from sciml.solvers import Scores
from sciml.support import Grid

STEADY = DataProblem("modes", ["c", "d"], ["rate"], 2, steady=True)
MOVING = DataProblem("modes", ["c", "d"], ["rate"], 2)
TIMES = np.array([0.5, 1.0, 2.0])


def solved(support, values, problem=STEADY, times=None, note=None):
    case = Case(problem, {"rate": float(values["c"].ravel()[0])}, extents=support.extents)
    dims = support.dims if times is None else ("time", *support.dims)
    found = data.solution(case, times, {k: (dims, v) for k, v in values.items()}, support)
    for name in found.data_vars:
        if str(name).endswith(("_lower", "_upper")):
            found[name].attrs.update(note or {"coverage": 0.8, "coverage_per": "field", "coverage_outside": 0.25})
    return found


def made(support, rng, times=None, bands=True):
    """Truth, and an answer with bands of random widths about something near it."""
    problem = STEADY if times is None else MOVING
    shape = support.shape if times is None else (len(times), *support.shape)
    truth, answer = {}, {}
    for n in ("c", "d"):
        truth[n] = rng.normal(size=shape)
        answer[n] = truth[n] + 0.5 * rng.normal(size=shape)
        half = rng.uniform(0.1, 1.0, shape)
        answer |= {f"{n}_lower": answer[n] - half, f"{n}_upper": answer[n] + half} if bands else {f"{n}_std": half}
    return solved(support, truth, problem, times), solved(support, answer, problem, times)


GRID = Grid((np.linspace(0, 1, 7) ** 2, np.linspace(0, 2, 6)))


@pytest.mark.parametrize("times", [None, TIMES], ids=["steady", "in time"])
@pytest.mark.parametrize("supports", [[mesh(40 + 5 * k, k) for k in range(4)], [GRID] * 4], ids=["meshes", "grid"])
def test_by_hand(supports, times):
    rng = np.random.default_rng(0)
    pairs = [made(s, rng, times) for s in supports]
    found = coverage([a for _, a in pairs], data.pack([t for t, _ in pairs], dtype=None), split=None)
    assert (found.nominal, found.per, found.outside, found.fields) == (0.8, "field", 0.25, ("c", "d"))
    for f, n in enumerate(("c", "d")):
        shares, widths = [], []
        for support, (truth, answer) in zip(supports, pairs, strict=True):
            w = support.weights() / support.weights().sum()
            inside = (answer[f"{n}_lower"].values <= truth[n].values) & (truth[n].values <= answer[f"{n}_upper"].values)
            every = 1 if times is None else len(times)
            shares.append((inside * w).sum() / every)
            widths.append(((answer[f"{n}_upper"] - answer[f"{n}_lower"]).values * w).sum() / every)
        np.testing.assert_allclose(found.shares[:, f], shares, atol=1e-9)
        assert found.point[n] == pytest.approx(np.mean(shares), abs=1e-9)
        assert found.field[n] == np.mean(np.array(shares) >= 0.75) == found.promised[n]
        assert found.widths[n] == pytest.approx(np.mean(widths), rel=1e-6)
    rms = np.sqrt(np.mean(found.size[:, 0] ** 2))
    assert found.relative_widths["c"] == pytest.approx(found.widths["c"] / rms)
    assert found.to_json()["per_point"] == found.point and found.to_json()["cases"] == 4
    twice = found.widened([2.0, 2.0])
    assert twice[0] >= found.field["c"]


def test_a_mask_does_not_count():
    mask = np.ones((5, 6), np.uint8)
    mask[1:3, 2:5] = 0
    grid = Grid((np.linspace(0, 1, 7), np.linspace(0, 2, 6)), (False, False), mask)
    truth, answer = made(grid, np.random.default_rng(0))
    for n in ("c", "d"):
        wrong = np.where(mask == 1, truth[n].values, 1e9)
        answer = answer.assign({f"{n}_lower": answer[f"{n}_lower"].copy(data=wrong - 1e-3),
                                f"{n}_upper": answer[f"{n}_upper"].copy(data=wrong + 1e-3)})  # fmt: skip
    found = coverage([answer], data.pack([truth], dtype=None), split=None)
    assert found.point == {"c": 1.0, "d": 1.0} and found.field["c"] == 1.0
    assert found.widths["c"] == pytest.approx(2e-3, rel=1e-3)


def test_what_is_no_number_lies_outside():
    truth, answer = made(GRID, np.random.default_rng(0))
    broken = {f"c_{end}": answer[f"c_{end}"].copy(data=np.full(GRID.shape, np.nan)) for end in ("lower", "upper")}
    found = coverage([answer.assign(broken)], data.pack([truth], dtype=None), split=None)
    assert found.point["c"] == 0.0 and found.field["c"] == 0.0 and found.point["d"] > 0


def test_answers_are_held_against_the_truth_of_their_times():
    truth, answer = made(GRID, np.random.default_rng(0), TIMES)
    packed = data.pack([truth], dtype=None)
    whole = coverage([answer], packed, split=None)
    first = coverage([answer.isel(time=[0, 1])], packed, split=None)
    last = coverage([answer.isel(time=[2])], packed, split=None)
    np.testing.assert_allclose((2 * first.shares + last.shares) / 3, whole.shares, atol=1e-9)
    with pytest.raises(InputError, match=r"case 0 is answered at t = 1.25, where the data have no frame"):
        coverage([answer.assign_coords(time=[0.5, 1.25, 2.0])], packed, split=None)


def test_standard_deviations_alone_are_taken_for_those_of_a_normal_law():
    rng = np.random.default_rng(1)
    support = mesh(60)
    truth, answer = made(support, rng, bands=False)
    found = coverage([answer], data.pack([truth], dtype=None), split=None, nominal=0.95)
    inside = np.abs(truth.c.values - answer.c.values) <= 1.959964 * answer.c_std.values
    w = support.weights() / support.weights().sum()
    assert found.nominal == 0.95 and found.shares[0, 0] == pytest.approx((inside * w).sum(), abs=1e-9)


def test_resplits_are_honest_and_repeat():
    rng = np.random.default_rng(0)
    residuals = np.exp(rng.normal(size=(300, 1, 1))) * np.abs(rng.normal(size=(300, 2, 50)))
    scores = Scores.of(list(residuals), [np.full(50, 0.02)] * 300)
    for per, outside in (("point", 0.0), ("field", 0.0), ("field", 0.1)):
        found = resplits(scores, 0.9, per, outside=outside, seed=3)
        assert found.shape == (100, 2) and np.abs(found.mean(axis=0) - 0.9).max() < 0.015
        np.testing.assert_array_equal(found, resplits(scores, 0.9, per, outside=outside, seed=3))


def test_errors():
    rng = np.random.default_rng(0)
    truth, answer = made(mesh(40), rng)
    packed = data.pack([truth], dtype=None)
    with pytest.raises(InputError, match="no error bars for c, d"):
        coverage([truth], packed, split=None)
    with pytest.raises(InputError, match="expected 1 solutions, one a held-out case, got 2"):
        coverage([answer, answer], packed, split=None)
    with pytest.raises(InputError, match="no case of the data set is in split 'test'"):
        coverage([answer], packed)
    with pytest.raises(InputError, match="lacks the attribute 'coverage'"):
        coverage([solved(mesh(40), {n: answer[n].values for n in map(str, answer.data_vars) if n[:1] in "cd" and "conn"
                                    not in n}, note={"units": "1"})], packed, split=None)  # fmt: skip
    with pytest.raises(InputError, match="expected a solver with error bars"):
        coverage("fno", packed, split=None)
    with pytest.raises(InputError, match="cannot be split"):
        resplits(Scores.of([np.ones((1, 3))], [np.ones(3)]), share=0.5)
