"""Ensembles: mean and spread of members, on every support, in time and steady, from one directory."""

import numpy as np
import pytest
import xarray as xr
from _made import FEW, cube, own, recipe, triangles, waves

from sciml import data
from sciml.cli.info import describe_run
from sciml.errors import FileFormatError, InputError
from sciml.evaluation import coverage, evaluate
from sciml.operators import FNO, DeepONet
from sciml.solvers import Conformal, Ensemble, LinearRegression, Spread, Surrogate, load
from sciml.training import Running

SPEEDS = (0.2, 0.3, 0.4)


def trained(steady, support, operator=FNO, count=3, **options):
    truth = [waves(support, s, problem=own(support.dimensions, steady=steady)) for s in SPEEDS]
    model = Ensemble.of(Surrogate(operator, **options), count)
    return model.fit(truth, recipe(3), split="train", **FEW), data.pack(truth, dtype=None)


@pytest.fixture(scope="module")
def in_time():
    return trained(False, cube(1), width=6, modes=(3,), layers=1)


def test_mean_and_spread_are_those_of_the_members(in_time):
    model, packed = in_time
    seeds = [m.training["recipe"]["seed"] for m in model.members]
    assert seeds == [0, 1, 2] and len({m.settings["weights"] for m in model.members}) == 3
    case, truth = data.case(packed, 1)
    times = truth.time.values[1:]
    found = model.resume(case, truth.isel(time=[0]), times)
    every = np.stack([m.resume(case, truth.isel(time=[0]), times).a.values.astype(float) for m in model.members])
    np.testing.assert_allclose(found.a.values, every.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.a_std.values, every.std(0, ddof=1), atol=1e-6)
    assert found.a_std.attrs["units"] == found.a.attrs["units"] and found.attrs["status"] == "ok"
    from sciml.solver import Start

    start = Start(case, case.support, np.stack([truth.a.values[0], truth.b.values[0]])[None], float(truth.time[0]))
    frames = [f[0] for f in model.rollout([start], times[None])]
    np.testing.assert_allclose(np.stack(frames)[:, 0], found.a.values, atol=1e-6)
    rows = evaluate(model, packed, split="train", steps=3, baselines=False).summary["rows"]
    assert rows[0]["name"] == "FNO, ensemble of 3"


def test_on_meshes_and_at_points():
    mesh = triangles()
    model, packed = trained(True, mesh, DeepONet)
    case = data.case(packed, 0)[0]
    whole = model.solve(case)
    assert set(whole.data_vars) >= {"a", "a_std", "b", "b_std"} and whole.a_std.dims == ("node",)
    assert (whole.a_std.values >= 0).all() and whole.a_std.values.max() > 0
    at = model.solve(case, points=mesh.points()[[3, 7]])
    np.testing.assert_allclose(at.a.values, whole.a.values[[3, 7]], atol=1e-5)
    np.testing.assert_allclose(at.a_std.values, whole.a_std.values[[3, 7]], atol=1e-5)
    back = data.case(data.pack([whole], dtype=None), 0)[1]
    np.testing.assert_array_equal(back.a_std.values, whole.a_std.values)


def test_one_directory(in_time, tmp_path):
    model, packed = in_time
    bars = Conformal(model, 0.8).calibrate(
        [waves(cube(1), 0.2 + 0.01 * i, problem=own(1)) for i in range(18)], None, share=0.3
    )
    assert isinstance(bars.calibration.scale, Spread) and bars.title == "FNO, ensemble of 3, with bars"
    bars.save(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "solver").iterdir()) == [
        "config.json", "member_0", "member_1", "member_2",
    ]  # fmt: skip
    back = load(tmp_path / "run")
    case, truth = data.case(packed, 1)
    answers = [m.resume(case, truth.isel(time=[0]), truth.time.values[1:]) for m in (bars, back)]
    xr.testing.assert_identical(*(a.drop_attrs() for a in answers))
    one = answers[0]
    assert (one.a_upper - one.a_lower >= 0).all() and one.a_lower.attrs["coverage"] == 0.8
    assert type(back.solver) is Ensemble and back.solver.identity == model.identity
    # bands are proportional to the spread where that is above the floor
    half, std = (one.a_upper - one.a_lower).values / 2, one.a_std.values
    floor = bars.calibration.scale.floor * bars.calibration.scale.typical[0]
    np.testing.assert_allclose(half, bars.limit[0] * np.maximum(std, floor), rtol=1e-3, atol=1e-5)


def test_gaussian_bands_of_a_bare_spread(in_time):
    model, packed = in_time
    found = coverage(model, packed, split=None, nominal=0.5)
    case, truth = data.case(packed, 0)
    one = model.resume(case, truth.isel(time=[0]), truth.time.values[1:])
    share = (np.abs(one.a.values - truth.a.values[1:]) <= 0.6744898 * one.a_std.values).mean()
    assert found.nominal == 0.5 and found.shares[0, 0] == pytest.approx(share, abs=1e-6)


def test_a_run_folder(tmp_path):
    truth = [waves(cube(1), s, problem=own(1, steady=True)) for s in SPEEDS]
    model = Ensemble.of(Surrogate(FNO, width=4, modes=(2,), layers=1), 2)
    model.fit(truth, recipe(2), validation=None, running=Running(out=tmp_path / "run", progress=False))
    case = data.case(data.pack(truth), 0)[0]
    answers = [m.solve(case).drop_attrs() for m in (model, load(tmp_path / "run"))]
    xr.testing.assert_identical(*answers)
    assert model.weights == 2 * model.members[0].weights and "seconds" in model.training
    with pytest.raises(FileFormatError, match="holds 'ensemble', expected one on fields"):
        Surrogate.load(tmp_path / "run")
    assert describe_run(tmp_path / "run")["complete"]
    (tmp_path / "run" / "member_1" / "weights.safetensors").unlink()
    assert not describe_run(tmp_path / "run")["complete"]


def test_refusals():
    one = Surrogate(FNO, width=4)
    for members, words in (
        ([one], "at least 2"), ("fno", "sequence"), ([one, LinearRegression()], "of one kind"), ([one, 3], "trained"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            Ensemble(members)
    fitted = Surrogate(FNO, width=4, modes=(2,), layers=1).fit([waves(cube(1), 0.2)], recipe(1), **FEW)
    with pytest.raises(InputError, match="all of them trained, or none"):
        Ensemble([fitted, one])
    with pytest.raises(InputError, match="count: expected a whole number"):
        Ensemble.of(one, 1)
