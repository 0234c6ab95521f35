"""Labelling one solution: what it holds, and one clear line for everything that does not fit."""

import json
import re

import numpy as np
import pytest
from _make import cavity, problems

import sciml
from sciml import data
from sciml.errors import InputError
from sciml.problem import Case

CAVITY = problems.LidDrivenCavity()
X = np.array([0.25, 0.75])


def label(**changes):
    rng = np.random.default_rng(0)
    arguments = {
        "case": CAVITY.case(),
        "times": [0.0, 1.0, 2.0],
        "fields": {"u": (("time", "y", "x"), rng.standard_normal((3, 2, 2)))},
        "coords": {"x": X, "y": X},
    }
    return data.solution(**(arguments | changes))


def test_it_carries_units_coordinates_and_the_case():
    found = cavity(np.random.default_rng(1), ic=True)
    assert found["u"].attrs["units"] == "m s-1"
    assert found["u_face"].attrs["units"] == "m s-1"
    assert found["time"].attrs["units"] == "s"
    assert found["x"].attrs["units"] == "m"
    assert found.attrs["Conventions"] == "CF-1.10"
    assert json.loads(found.attrs["settings"]) == {"n": 6}
    case = Case.from_parts(found.attrs, {k: v.values for k, v in found.variables.items()})
    assert "initial_streamfunction" in case.inputs and "lid_motion" in case.inputs


def test_it_writes_to_netcdf_as_it_is(tmp_path):
    import xarray as xr

    found = cavity(np.random.default_rng(1), ic=True)
    found.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    again = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    xr.testing.assert_equal(found, again.load())
    assert again.attrs == found.attrs


def test_tendencies_and_uncertainties_get_units():
    values = (("time", "y", "x"), np.zeros((3, 2, 2)))
    found = label(fields={"u": values, "u_tendency": values, "p_std": values})
    assert found["u_tendency"].attrs["units"] == "m s-1 s-1"
    assert found["p_std"].attrs["units"] == "Pa"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": None}, "times: lid_driven_cavity is transient"),
        ({"times": [0.0, 2.0, 1.0]}, "times: expected finite, increasing"),
        ({"times": [0.0, 1.0, np.nan]}, "times: expected finite, increasing"),
        ({"fields": {}}, "fields: expected at least one"),
        ({"fields": {"w": (("time", "y", "x"), np.zeros((3, 2, 2)))}}, "no field 'w'"),
        (
            {"fields": {"u": (("time", "y", "x"), np.zeros((3, 2, 3)))}},
            r"'u' has shape \(3, 2, 3\), expected \(3, 2, 2\)",
        ),
        ({"fields": {"u": (("y", "x"), np.zeros((2, 2)))}}, "'u' has dims"),
        ({"fields": {"u": (("time", "y", "z"), np.zeros((3, 2, 2)))}}, "dimension 'z', but coords lack it"),
        ({"fields": {"u": (("time", "y", "x"), np.zeros((3, 2, 2), int))}}, "type int64, expected floating"),
        ({"fields": {"u": (("time", "y", "x"), np.full((3, 2, 2), np.nan))}}, r"not finite at index \(0, 0, 0\)"),
        ({"coords": {"x": X[::-1], "y": X}}, "'x' must be 1-D and strictly increasing"),
        ({"coords": {"x": X, "y": X, "q": X}}, "'q' is not an axis"),
        ({"coords": {"x": X, "y": [0.0, np.inf]}}, "'y' is not finite"),
        ({"mask": np.ones((2, 3))}, "mask: shape"),
        ({"attrs": {"what": object()}}, "attrs: 'what' is a object"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        label(**changes)
    assert "\n" not in str(caught.value)


def test_a_failed_case_may_hold_fewer_frames_and_says_why():
    values = np.full((3, 2, 2), np.nan)
    found = label(fields={"u": (("time", "y", "x"), values)}, status="non-finite at t = 2")
    assert found.attrs["status"] == "non-finite at t = 2"


def test_steady_solutions_have_no_time():
    case = problems.Poisson().case()
    found = data.solution(case, None, {"p": (("y", "x"), np.zeros((2, 2)))}, {"x": X, "y": X})
    assert "time" not in found.variables
    with pytest.raises(InputError, match=re.escape("'p' has dims ('time', 'y', 'x')")):
        data.solution(case, None, {"p": (("time", "y", "x"), np.zeros((1, 2, 2)))}, {"x": X, "y": X})


def test_fields_without_names_of_axes():
    problem = sciml.problems.DataProblem("mine", ["a"])
    grid = sciml.Grid.from_centres((np.arange(4.0), np.arange(3.0)))
    a = np.arange(24.0).reshape(2, 3, 4)
    named = sciml.data.solution(problem.case(), [0, 1], {"a": (("time", "y", "x"), a)}, grid)
    assert sciml.data.solution(problem.case(), [0, 1], {"a": a}, grid).identical(named)
    assert sciml.data.solution(problem.case(), [0, 1], {"a": named["a"]}, grid).identical(named)
    nodes = sciml.Points(np.random.default_rng(0).random((12, 2)))
    assert sciml.data.solution(problem.case(), [0, 1], {"a": a.reshape(2, 12)}, nodes)["a"].dims == ("time", "node")
    for fields, coords in (({"a": a}, {"x": np.arange(4.0), "y": np.arange(3.0)}), ({"a": a.tolist()}, grid)):
        with pytest.raises(InputError, match=r"fields: 'a': expected \(dims, array\), as in"):
            sciml.data.solution(problem.case(), [0, 1], fields, coords)
