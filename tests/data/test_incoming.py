"""Times, masks and number formats of arrays that come in: kept in meaning, or refused in one line."""

import datetime

import numpy as np
import pytest
from _make import problems

import sciml
from sciml import data
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.solver import check_points, check_times

BURGERS = problems.Burgers()
X = (np.arange(8) + 0.5) / 8


def burgers(times, u=None, x=X):
    u = np.zeros((len(times), len(x))) if u is None else u
    return data.solution(BURGERS.case(), times, {"u": (("time", "x"), u)}, {"x": x})


DURATIONS = [
    np.array([0, 1500, 2000], "m8[ms]"),
    np.array([0, 1500, 2000], "m8[ms]").astype("m8[ns]"),
    [datetime.timedelta(seconds=s) for s in (0, 1.5, 2)],
]


@pytest.mark.parametrize("times", DURATIONS)
def test_durations_become_seconds_everywhere(times):
    expected = [0.0, 1.5, 2.0]
    found = burgers(times)
    assert found["time"].values.tolist() == expected and found["time"].units == "s"
    assert check_times(BURGERS, times).tolist() == expected
    assert Series(times, [1, 2, 3]).times.tolist() == expected


def test_durations_are_converted_when_solutions_are_packed_and_audited(tmp_path):
    x = np.arange(32) / 32 + 1 / 64
    case = BURGERS.case(viscosity=0.05)
    times = np.array([0.0, 0.25, 0.5])
    made = data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x})
    as_xarray_reads = made.assign_coords(time=(np.round(times * 1e9)).astype("m8[ns]"))
    packed = data.pack([as_xarray_reads])
    assert packed["time"].values.tolist() == times.tolist()
    assert str(sciml.audit(as_xarray_reads)) == str(sciml.audit(made))


@pytest.mark.parametrize(
    "times",
    [
        np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[ns]"),
        [datetime.datetime(2020, 1, d) for d in (1, 2, 3)],
    ],
)
def test_dates_are_refused_everywhere(times):
    for use in (burgers, lambda t: check_times(BURGERS, t), lambda t: Series(t, [1, 2, 3])):
        with pytest.raises(InputError, match="times: got dates, expected numbers in 's'"):
            use(times)


def test_durations_without_seconds_are_refused():
    for times in (np.array([0, 1], "m8[M]"), np.array([0, 1], "m8")):
        with pytest.raises(InputError, match=r"times: got timedelta64.*expected durations in seconds"):
            check_times(BURGERS, times)
    with pytest.raises(InputError, match="the problem's unit"):
        sciml.arrays.clock("times", DURATIONS[0], "1")


def hide(array, at):
    found = np.ma.masked_array(array, mask=False)
    found[at] = np.ma.masked
    found.data[at] = 9.96921e36
    return found


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda: burgers([0.0, 1.0], hide(np.zeros((2, 8)), (1, 3))), "fields: 'u'"),
        (lambda: burgers([0.0], x=hide(X.copy(), 3)), "coords: 'x'"),
        (lambda: burgers(hide(np.arange(3.0), 2)), "times"),
        (lambda: problems.Darcy().case(permeability=hide(np.ones((4, 4)), (0, 0))), "darcy: permeability"),
        (lambda: Series(hide(np.arange(3.0), 2), [1, 2, 3]), "series: times"),
        (lambda: Series([1, 2, 3], hide(np.arange(3.0), 2)), "series: values"),
        (lambda: check_times(BURGERS, hide(np.arange(3.0), 2)), "times"),
        (lambda: check_points(BURGERS.case(), hide(np.ones((2, 1)), (0, 0))), "points"),
        (lambda: check_points(BURGERS.case(), [hide(np.ones(1), 0), [2.0]]), "points"),
        (lambda: sciml.metrics.mae(np.arange(3.0), hide(np.arange(3.0), 2)), "target"),
        (lambda: sciml.metrics.mae(hide(np.arange(3.0), 2), np.arange(3.0)), "prediction"),
        (lambda: sciml.metrics.mae(np.arange(3.0), np.arange(3.0), mask=hide(np.ones(3), 2)), "mask"),
    ],
)
def test_masked_values_are_refused_wherever_an_array_enters(use, name):
    with pytest.raises(InputError, match=f"{name}: 1 of .* values are masked") as caught:
        use()
    assert "\n" not in str(caught.value)


def test_masks_that_hide_nothing_do_no_harm():
    k = np.ma.masked_array(np.ones((4, 4)), mask=False)
    assert type(problems.Darcy().case(permeability=k).permeability) is np.ndarray
    found = burgers(np.ma.masked_array([0.0, 1.0]), np.ma.masked_array(np.ones((2, 8)), mask=False))
    assert float(found["u"].sum()) == 16
    assert sciml.metrics.mae(k, k + 1) == 1
