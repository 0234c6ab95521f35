"""Cases: validation, resampling, and rebuilding from what a file holds."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sciml import Case, Dirichlet, Grid, InTime, Neumann, Robin, Series
from sciml.errors import InputError
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson, TaylorGreen

finite = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-6, 1e6)


@pytest.mark.parametrize(
    ("problem", "values", "message"),
    [
        (LidDrivenCavity(), {"lid_velocty": 1.0}, "'lid_velocty'; did you mean 'lid_velocity'"),
        (LidDrivenCavity(), {"viscosity": 0.0}, r"viscosity is 0 Pa s, expected a value in \(0, inf\)"),
        (LidDrivenCavity(), {"viscosity": -1.0}, "viscosity is -1"),
        (LidDrivenCavity(), {"density": math.nan}, "density is nan"),
        (LidDrivenCavity(), {"width": math.inf}, "width is inf"),
        (LidDrivenCavity(), {"height": "tall"}, "height is 'tall', expected a number in m"),
        (LidDrivenCavity(), {"viscosity": np.ones(2)}, "viscosity is array"),
        (LidDrivenCavity(), {"lid_motion": [1.0, 2.0]}, r"lid_motion is a list, expected Series\(times, values\)"),
        (LidDrivenCavity(), {"initial_streamfunction": np.zeros(4)}, r"shape \(4,\), expected 2 axes"),
        (LidDrivenCavity(), {"initial_streamfunction": np.full((4, 4), np.nan)}, "not finite"),
        (Darcy(), {"permeability": np.zeros((4, 4))}, "minimum of 0, expected values > 0"),
        (Darcy(), {"permeability": "rock"}, "expected numbers over"),
        (Darcy(), {"permeability": np.zeros((0, 4))}, "shape"),
        (Burgers(), {"initial_velocity": np.zeros((2, 2))}, "expected 1 axes"),
        (HeatEquation(), {"temperature_left": 3.0}, "expected Series"),
    ],
)
def test_what_cannot_be_used_is_named(problem, values, message):
    with pytest.raises(InputError, match=message):
        problem.case(**values)


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([0.0, 1.0], [1.0], "one length"),
        ([], [], "one length"),
        ([0.0, 0.0], [1.0, 2.0], "increase strictly"),
        ([1.0, 0.0], [1.0, 2.0], "increase strictly"),
        ([0.0, math.nan], [1.0, 2.0], "finite"),
        ([0.0, 1.0], [1.0, math.inf], "finite"),
    ],
)
def test_bad_series(times, values, message):
    with pytest.raises(InputError, match=message):
        Series(times, values)


@given(
    st.lists(finite, min_size=1, max_size=8, unique_by=lambda v: round(v, 3)).map(sorted),
    st.data(),
)
def test_series_interpolates_between_its_knots_and_is_constant_outside(times, data):
    times = [round(t, 3) for t in times]
    values = data.draw(st.lists(finite, min_size=len(times), max_size=len(times)))
    series = Series(times, values)
    np.testing.assert_array_equal(series(np.array(times)), values)
    assert series(times[0] - 1.0) == values[0] and series(times[-1] + 1.0) == values[-1]
    if len(times) > 1:
        middle = (times[0] + times[1]) / 2
        assert series(middle) == pytest.approx((values[0] + values[1]) / 2, rel=1e-6, abs=1e-6)
    again = pickle.loads(pickle.dumps(series))
    assert again == series and hash(again) == hash(series)
    with pytest.raises(AttributeError, match="immutable"):
        series.times = np.zeros(1)
    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 1.0


def test_boundary_conditions_in_time():
    assert Dirichlet(InTime(lambda t: 2 * t)).at(3.0) == 6.0
    np.testing.assert_array_equal(Dirichlet(Series([0, 1], [0, 2])).over([0.5, 9]), [1.0, 2.0])
    assert Neumann(np.arange(3.0)).over([0.0, 1.0]).shape == (2, 3)
    with pytest.raises(InputError, match="b other than 0"):
        Robin(1.0, a=1.0, b=0.0)
    with pytest.raises(InputError, match="expected points"):
        Dirichlet(lambda points, t: points[:, 0]).at(0.0)


def rebuilt(case):
    """What a reader sees: attributes through JSON text, variables as plain arrays."""
    attrs = json.loads(json.dumps(case.to_attrs()))
    return Case.from_parts(attrs, {name: np.asarray(array) for name, (_, array) in case.input_variables().items()})


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cases_come_back_from_their_parts(data):
    knots = data.draw(st.integers(1, 5))
    series = Series(
        np.cumsum(data.draw(st.lists(st.floats(0.01, 5), min_size=knots, max_size=knots))),
        data.draw(st.lists(finite, min_size=knots, max_size=knots)),
    )
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2))
    field = data.draw(arrays.arrays(np.float64, shape, elements=finite))
    text = {"label": data.draw(st.text(max_size=8)), "subset": data.draw(st.sampled_from(["", "bc", "ic"]))}
    case = data.draw(st.sampled_from([
        LidDrivenCavity().case(viscosity=data.draw(positive), lid_motion=series, **text),
        LidDrivenCavity().case(lid_velocity=data.draw(finite), initial_streamfunction=field, **text),
        Darcy("closed").case(source=data.draw(finite), permeability=np.exp(field / 1e6), **text),
        HeatEquation().case(temperature_right=series, initial_temperature=field.ravel(), **text),
        Burgers().case(velocity=data.draw(positive), initial_velocity=field[0].astype(np.float32), **text),
    ]))  # fmt: skip
    again = rebuilt(case)
    assert again == case and hash(again) == hash(case)
    assert (again.label, again.subset) == (text["label"], text["subset"])
    assert type(again.problem) is type(case.problem) and again.problem.options == case.problem.options
    assert dict(again.parameters) == dict(case.parameters)
    for name, value in case.inputs.items():
        if isinstance(value, np.ndarray):
            assert again.inputs[name].dtype == value.dtype
    assert pickle.loads(pickle.dumps(case)) == case and copy.deepcopy(case) == case


def test_padding_of_series_is_dropped():
    variables = {"input_lid_motion_times": [0.0, 1.0, np.nan], "input_lid_motion_values": [1.0, 2.0, np.nan]}
    case = Case.from_parts(LidDrivenCavity().case().to_attrs(), variables)
    assert case.lid_motion == Series([0.0, 1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({}, "'problem' is missing"),
        ({"problem": "burgers"}, "'case_json' is missing"),
        ({"problem": "burgers", "case_json": "{"}, "does not describe a case"),
        ({"problem": "burgers", "case_json": "[]"}, "does not describe a case"),
        ({"problem": "burgers", "case_json": "{}"}, "does not describe a case"),
        ({"problem": "burger", "case_json": '{"parameters": {}}'}, "did you mean 'burgers'"),
        ({"problem": "burgers", "case_json": '{"parameters": {"viscosity": -1}}'}, "viscosity is -1"),
        ({"problem": "burgers", "case_json": '{"parameters": {"speed": 1}}'}, "'speed'"),
        ({"problem": "burgers", "case_json": '{"parameters": [1]}'}, "does not describe a case"),
        (
            {"problem": "burgers", "case_json": '{"parameters": {}, "options": {"colour": 1}}'},
            r"options .*colour.* do not fit",
        ),
        ({"problem": "darcy", "case_json": '{"parameters": {}, "options": {"walls": "soft"}}'}, "walls is 'soft'"),
    ],
)
def test_broken_parts_are_named(attrs, message):
    with pytest.raises(InputError, match=message):
        Case.from_parts(attrs, {})


def test_cases_are_frozen_and_take_no_reference_to_the_caller_s_arrays():
    field = np.ones((4, 4))
    case = Darcy().case(permeability=field)
    field[:] = 7.0
    assert case.permeability.max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        case.permeability[0, 0] = 3.0
    with pytest.raises(TypeError):
        case.parameters["source"] = 3.0
    with pytest.raises(AttributeError):
        case.label = "x"
    with pytest.raises(AttributeError, match="pressure"):
        _ = case.pressure
    assert case.source == 1.0
    assert case != Darcy().case() and case != "case"
    assert Darcy().case(source=2.0) == Darcy().case(source=2)


def test_integer_fields_become_floats():
    assert Darcy().case(permeability=np.ones((2, 2), dtype=int)).permeability.dtype == np.float64


def test_inputs_are_resampled_to_the_nearest_cell():
    case = Darcy().case(permeability=np.array([[1.0, 2.0], [3.0, 4.0]]))
    grid = Grid.uniform(case.geometry, (4, 6))
    expected = np.repeat(np.repeat([[1.0, 2.0], [3.0, 4.0]], 2, axis=0), 3, axis=1)
    np.testing.assert_array_equal(case.input_on("permeability", grid), expected)
    np.testing.assert_array_equal(Darcy().case().input_on("permeability", grid), np.ones((4, 6)))
    source = Poisson().case(wavenumber=2).input_on("source", grid)
    x, y = grid.centres
    k = 2 * np.pi
    np.testing.assert_allclose(source, 2 * k**2 * np.sin(k * x)[None] * np.sin(k * y)[:, None], atol=1e-12)
    with pytest.raises(InputError, match="no input is called 'permeable'; did you mean 'permeability'"):
        case.input_on("permeable", grid)
    with pytest.raises(InputError, match="no default"):
        TaylorGreen().case().input_on("initial_streamfunction", grid)
