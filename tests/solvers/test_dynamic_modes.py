"""Linear dynamics of modes: exact where the dynamics are linear, bounded where they would grow."""

import numpy as np
import pytest
import xarray as xr
from _made import triangles

from sciml import data
from sciml.errors import InputError
from sciml.problems import DataProblem
from sciml.solvers import DynamicModes, load

FAMILY = DataProblem("swing", ["a", "b"], ["phase"], 2)
SHAPES = (lambda x, y: np.sin(3 * x), lambda x, y: x * y, lambda x, y: np.cos(2 * y - x))


def made(count, law, length=30, step=0.1, times=None):
    """Fields whose shapes have the courses law(t, phase)."""
    support, found = triangles(), []
    x, y = support.points().T
    for i in range(count):
        t = step * np.arange(length) if times is None else times
        courses = law(t[:, None], 0.7 * i)
        values = sum(c * s(x, y) for c, s in zip(courses, SHAPES, strict=False))
        fields = {"a": (("time", "node"), 2 + values), "b": (("time", "node"), 100 - 30 * values)}
        found.append(data.solution(FAMILY.case(phase=0.7 * i).on(support), t, fields, support))
    return data.pack(found, dtype=None)


def swinging(t, phase):
    """A standing wave, of which one frame does not tell which way it goes, and one that dies out."""
    return np.sin(2 * t + phase), np.exp(-0.3 * t)


def rolled(model, packed, number, start, history):
    case, truth = data.case(packed, number)
    began = truth.isel(time=slice(start + 1 - history, start + 1))
    times = truth.time.values[start + 1 :]
    return model.resume(case, began, times), truth.isel(time=slice(start + 1, None))


def test_swinging_modes_are_found_exactly():
    train = made(4, swinging)
    model = DynamicModes().fit(train, split=None)
    answer, truth = rolled(model, train, 2, 5, 2)
    for n in ("a", "b"):
        np.testing.assert_allclose(answer[n].values, truth[n].values, atol=2e-4 * float(np.abs(truth[n]).max()))
    one = DynamicModes(history=1).fit(train, split=None)
    answer, truth = rolled(one, train, 2, 5, 1)
    assert np.abs(answer.a.values - truth.a.values).max() > 0.1


def test_the_frames_before_are_those_of_whole_steps():
    """Of a solution at closer times, those that are a step apart; of one frame alone, with a warning."""
    train = made(4, swinging)
    model = DynamicModes().fit(train, split=None)
    fine = made(4, swinging, length=60, step=0.05)
    case, truth = data.case(fine, 2)
    times = 0.55 + 0.1 * np.arange(1, 10)
    by_steps = model.resume(case, truth.isel(time=[9, 11]), times)
    xr.testing.assert_identical(
        model.resume(case, truth.isel(time=slice(0, 12)), times).drop_attrs(), by_steps.drop_attrs()
    )
    true = truth.a.interp(time=times).values
    assert np.abs(by_steps.a.values - true).max() < 5e-3
    with pytest.raises(InputError, match=r"frame: has no time 0\.45 s"):
        model.resume(case, truth.isel(time=[8, 11]), times)
    with pytest.warns(
        UserWarning, match="a step goes by 2 frames, but begins with 1 frame: the first is taken to have"
    ):
        model.resume(case, truth.isel(time=[11]), times)


def test_answers_between_steps_are_linear():
    train = made(3, lambda t, phase: (np.exp(-t) * (1 + phase),))
    model = DynamicModes(history=1).fit(train, split=None)
    case, truth = data.case(train, 1)
    found = model.resume(case, truth.isel(time=[4]), np.array([0.4, 0.5, 0.525, 0.55, 0.6])).a.values
    np.testing.assert_allclose(found[0], truth.a.values[4], rtol=1e-6)
    np.testing.assert_allclose(found[3], (found[1] + found[4]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found[2], (3 * found[1] + found[4]) / 4, rtol=1e-6)


def test_nothing_grows_beyond_what_it_is():
    train = made(3, lambda t, phase: (np.exp(0.8 * t) * (1 + phase), np.sin(2 * t)))
    model = DynamicModes().fit(train, split=None)
    case, truth = data.case(train, 0)
    far = model.resume(case, truth.isel(time=slice(-2, None)), 2.9 + 0.1 * np.arange(1, 2000)).a.values
    assert np.isfinite(far).all() and np.abs(far[1000:]).max() <= 1.001 * np.abs(far[:1000]).max()
    assert np.abs(np.linalg.eigvals(model.steps_)).max() <= 1 + 1e-6


def test_in_a_directory(tmp_path):
    train = made(3, swinging)
    model = DynamicModes().fit(train, split=None)
    model.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert type(back) is DynamicModes and back.history == 2 and back.settings == model.settings
    xr.testing.assert_identical(rolled(back, train, 1, 4, 2)[0], rolled(model, train, 1, 4, 2)[0])


def test_what_it_cannot_be_fitted_to():
    with pytest.raises(InputError, match="history: expected a whole number ≥ 1, got 0"):
        DynamicModes(history=0)
    with pytest.raises(InputError, match=r"frames are 0\.1 to 0\.3 apart, expected equal steps"):
        DynamicModes().fit(made(2, swinging, times=np.array([0.0, 0.1, 0.4, 0.5])), split=None)
    with pytest.raises(InputError, match="a training case has 2 frames, expected 3 or more"):
        DynamicModes().fit(made(2, swinging, length=2), split=None)
    with pytest.raises(InputError, match="the training frames do not differ"):
        DynamicModes().fit(made(2, lambda t, phase: (0 * t,)), split=None)
