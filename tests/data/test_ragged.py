"""Inputs of different lengths, nodes that come and go, several kinds of cells: what goes in comes out."""

import h5py
import numpy as np
import pytest
from _make import assert_same_solution, cavity, centres, problems

from sciml import data
from sciml.boundary import Series
from sciml.errors import FileFormatError, InputError

CAVITY = problems.LidDrivenCavity()


def round_trip(tmp_path, made, name="a.h5", **how):
    packed = data.pack(made, dtype=None, **how)
    data.write(packed, tmp_path / name)
    assert data.validate(tmp_path / name)["checksums"] == len(made)
    opened = data.open(tmp_path / name)
    for source in (packed, opened, data.concat([packed]), data.concat([data.pack([m], dtype=None) for m in made])):
        for i, solution in enumerate(made):
            assert_same_solution(data.case(source, i)[1], solution)
    return opened


def heat(n, **inputs):
    x = centres(0, 1, 4)
    case = problems.HeatEquation().case(**inputs)
    return data.solution(case, [0.0, 1.0], {"T": (("time", "x"), np.ones((2, 4)))}, {"x": x})


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
def test_inputs_of_different_lengths_keep_their_own(tmp_path, name):
    rng = np.random.default_rng(0)
    made = [
        heat(4, initial_temperature=rng.random(4)),
        heat(4),
        heat(4, initial_temperature=rng.random(7), temperature_left=Series([0.0, 2.0, 3.0], rng.random(3))),
        heat(4, temperature_left=Series([0.0, 2.0], rng.random(2))),
    ]
    opened = round_trip(tmp_path, made, name)
    assert opened["input_initial_temperature"].dims == ("initial_temperature_obs",)
    assert opened["input_initial_temperature_row_size"].values.tolist() == [4, 0, 7, 0]
    assert opened.sizes["temperature_left_times_obs"] == 5


def test_inputs_with_several_axes_keep_their_shapes(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for shape in ((3, 4), (5, 3), None):
        case = problems.Darcy().case(permeability=1 + rng.random(shape) if shape else None)
        coords = {"x": centres(0, 1, 4), "y": centres(0, 1, 4)}
        made.append(data.solution(case, None, {"p": (("y", "x"), rng.random((4, 4)))}, coords))
    opened = round_trip(tmp_path, made)
    assert opened["input_permeability_shape"].values.tolist() == [[3, 4], [5, 3], [0, 0]]
    same = data.concat([data.pack(made[:1]), data.pack(made[:1])])
    assert same["input_permeability"].dims == ("case", "input_y", "input_x")  # one shape: one array


def test_missing_values_and_integers_at_the_end_of_an_input_stay(tmp_path):
    made = [cavity(np.random.default_rng(i), faces=False) for i in range(2)]
    made[0]["input_probe"] = ("probe", np.array([1.0, np.nan, np.nan]))
    made[1]["input_probe"] = ("probe", np.array([np.nan]))
    made[0]["input_label"] = ("label", np.array([3, 0, 0], np.int64))
    made[1]["input_label"] = ("label", np.array([0, 7], np.int64))
    opened = round_trip(tmp_path, made)
    assert opened["input_label"].dtype == np.int64


def particles(seed, counts, extra=0):
    rng = np.random.default_rng(seed)
    t, n = len(counts), max(counts) + extra
    fields = {k: (("time", "node"), rng.standard_normal((t, n))) for k in "uv"}
    coords = {"x": rng.random((t, n)), "y": rng.random((t, n))}
    return data.solution(CAVITY.case(), np.arange(t) * 1.0, fields, coords, node_count=counts)


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
def test_nodes_that_come_and_go(tmp_path, name):
    made = [particles(0, [3, 5, 2], extra=2), particles(1, [4, 0]), particles(2, [6, 6])]
    assert np.isnan(made[0]["u"].values[0, 3:]).all() and np.isnan(made[0]["x"].values[2, 2:]).all()
    opened = round_trip(tmp_path, made, name)
    assert opened["node_row_size"].dims == ("frame",)
    assert opened["node_row_size"].values.tolist() == [3, 5, 2, 4, 0, 6, 6]
    assert opened.sizes["obs"] == 26 and opened["u"].dims == opened["x"].dims == ("obs",)  # no padding is stored
    assert "node_count" not in data.case(opened, 2)[1] and data.case(opened, 0)[1]["node_count"].values[1] == 5
    if name == "a.h5":
        u = data.case(opened, 0)[1]["u"]
        assert u.chunks is not None and u.shape == (3, 5)


def test_fixed_nodes_beside_changing_ones_are_written_out_frame_by_frame(tmp_path):
    rng = np.random.default_rng(3)
    coords = {"x": rng.random(4), "y": rng.random(4)}
    fields = {k: (("time", "node"), rng.standard_normal((2, 4))) for k in "uv"}
    fixed = data.solution(CAVITY.case(), [0.0, 1.0], fields, coords)
    moving = particles(1, [4, 4])
    for other in (moving, particles(0, [3, 5, 2])):
        packed = data.pack([fixed, other], dtype=None)
        again = data.case(packed, 0)[1]
        np.testing.assert_array_equal(again["u"].values, fixed["u"].values)
        np.testing.assert_array_equal(again["x"].values, np.tile(coords["x"], (2, 1)))
        assert_same_solution(data.case(packed, 1)[1], other)
    cells = data.solution(CAVITY.case(), [0.0, 1.0], fields, coords, connectivity=[[0, 1, 2]])
    with pytest.raises(InputError, match="'connectivity' needs fixed nodes, but other cases have nodes that come and"):
        data.pack([cells, particles(0, [3, 5, 2])])


def mesh(seed, nodes, frames=2, **how):
    rng = np.random.default_rng(seed)
    fields = {k: (("time", "node"), rng.standard_normal((frames, nodes))) for k in "uv"}
    coords = {"x": rng.random(nodes), "y": rng.random(nodes)}
    return data.solution(CAVITY.case(), np.arange(frames) * 1.0, fields, coords, **how)


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
def test_attributes_of_nodes_and_kinds_of_cells(tmp_path, name):
    made = [
        mesh(0, 5, connectivity={"triangle": [[0, 1, 2], [2, 3, 4]], "line": [[0, 1]]},
             node_attributes={"material": np.arange(5), "weight": np.linspace(0, 1, 5)}),
        mesh(1, 4, connectivity={"quadrilateral": [[0, 2, 1, 3]]},
             node_attributes={"material": [7, 7, 1, 0], "weight": np.ones(4)}),
    ]  # fmt: skip
    opened = round_trip(tmp_path, made, name)
    assert opened["node_material"].dims == ("node",) and opened["node_material"].dtype == np.int64
    assert opened["cell_row_size_triangle"].values.tolist() == [2, 0]
    assert opened["connectivity_quadrilateral"].dims == ("cell_quadrilateral", "vertex_quadrilateral")
    with pytest.raises(InputError, match="'node_material' over 'node' is in some of"):
        data.pack([made[0], mesh(0, 3)])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"connectivity": {"triangel": [[0, 1, 2]]}}, "'triangel' is not a kind of cells; did you mean 'triangle'"),
        ({"connectivity": {"triangle": [[0, 1, 2, 3]]}}, "connectivity_triangle: expected 3 vertices a cell, got 4"),
        ({"connectivity": {"line": [[0, 4]]}}, "connectivity_line: expected .* 0 to 3, got int64 of .* from 0 to 4"),
        ({"node_attributes": {"material": [1, 2]}}, r"'material' is int64 of shape \(2,\), expected \(4,\) numbers"),
        ({"node_attributes": {"row_size": [1, 2, 3, 4]}}, "'row_size' is not a name for an attribute"),
        ({"node_attributes": {"kind": list("abcd")}}, "'kind' is <U1"),
        ({"node_count": [4, 3]}, r"coords: 'x' has shape \(4,\), expected \(T, N\)"),
        ({"node_count": [4]}, "node_count: expected 2 integers"),
        ({"node_count": [4, -1]}, "node_count: expected 2 integers"),
    ],
)
def test_what_does_not_fit_the_nodes_is_named(how, message):
    with pytest.raises(InputError, match=message) as caught:
        mesh(0, 4, **how)
    assert "\n" not in str(caught.value)


def test_cells_of_different_sizes_need_kinds():
    made = [mesh(0, 4, connectivity=[[0, 1, 2]]), mesh(0, 4, connectivity=[[0, 1, 2, 3]])]
    with pytest.raises(InputError, match=r"'connectivity' has shapes \(3,\) and \(4,\).*name the kinds of cells"):
        data.pack(made)


def put(name, at, value):
    def deed(file):
        file[name][at] = value

    return deed


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (put("connectivity_triangle", (0, 1), 5), "'connectivity_triangle' points to nodes that its case does not"),
        (put("connectivity_triangle", (0, 1), -1), "'connectivity_triangle' points to nodes"),
        (put("cell_row_size_triangle", 0, 2), "'cell_row_size_triangle' sums to 3, expected 2 cells"),
        (put("node_row_size", 0, 4), "'node_row_size' times 'row_size' does not add up"),
        (put("input_a_row_size", 1, 9), "'input_a_row_size' sums to 12, expected 5"),
        (put("input_a_row_size", 1, -2), "'input_a_row_size' sums to 1"),
        (put("input_b_shape", (0, 1), 3), "'input_b_shape' does not agree with 'input_b_row_size'"),
        (lambda f: f["input_b"].attrs.__setitem__("dims", "p p"), "'input_b' has dims"),
        (lambda f: f["input_b"].attrs.__delitem__("dims"), "'input_b' has dims"),
        (lambda f: f.__delitem__("input_a_row_size"), "'input_a_row_size' is missing"),
        (lambda f: f.__delitem__("cell_row_size_triangle"), "'cell_row_size_triangle' is missing"),
        (lambda f: f.move("connectivity_triangle", "connectivity_wedge"), "'connectivity_wedge' is of no kind"),
        (lambda f: f.move("node_material", "node_count"), None),
    ],
)
def test_the_reader_checks_sizes_and_ranges(tmp_path, deed, message):
    made = [mesh(i, 5, connectivity={"triangle": [[0, 1, 2]]}, node_attributes={"material": [1] * 5}) for i in (0, 1)]
    for i, solution in enumerate(made):
        solution["input_a"] = ("q", np.ones(3 - i))
        solution["input_b"] = (("p", "q2"), np.ones((1 + i, 2)))
    path = tmp_path / "a.h5"
    data.write(data.pack(made), path)
    with h5py.File(path, "r+") as file:
        deed(file)
    if message is None:
        data.open(path)
        return
    with pytest.raises(FileFormatError, match=message) as caught:
        data.open(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_the_reader_checks_counts_of_changing_nodes(tmp_path):
    path = tmp_path / "a.h5"
    for value, message in ((4, "does not add up"), (-3, "expected 0 or more"), (2**62, "expected 0 or more")):
        data.write(data.pack([particles(0, [3, 5, 2])]), path)
        with h5py.File(path, "r+") as file:
            file["node_row_size"][0] = value
        with pytest.raises(FileFormatError, match=f"'node_row_size'.* {message}"):
            data.open(path)
