"""Any solution comes back out of a data set, and out of its file, as it went in."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from _make import TestBox, assert_same_solution, cavities, cavity, centres, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml import data
from sciml.boundary import Series
from sciml.errors import InputError


def heat(rng, frames, n, stretched, series):
    inputs = {}
    if series:
        inputs = {"temperature_left": Series([0.0, 1.0], rng.standard_normal(2)), "initial_temperature": rng.random(4)}
    case = problems.HeatEquation().case(length=0.5 + rng.random(), subset="s", **inputs)
    x = centres(0, case.length, n)
    x = case.length * (x / case.length) ** 2 if stretched else x
    values = rng.standard_normal((frames, n))
    return data.solution(case, np.arange(frames) * rng.random() + 1, {"T": (("time", "x"), values)}, {"x": x})


def darcy(rng, frames, n, stretched, series):
    inputs = {"permeability": 1 + rng.random((n, n + 1))} if series else {}
    case = problems.Darcy().case(source=rng.random(), **inputs)
    y = centres(0, 1, n) ** (2 if stretched else 1)
    values = rng.standard_normal((n, n + 1))
    return data.solution(case, None, {"p": (("y", "x"), values)}, {"x": centres(0, 1, n + 1), "y": y})


def box(rng, frames, n, stretched, series):
    case = TestBox().case(depth=1 + rng.random())
    faces = np.concatenate([[0.0], np.cumsum(1 + rng.random(3))])
    z = 2 + case.depth * (faces[1:] + faces[:-1]) / 2 / faces[-1] if stretched else centres(2, 2 + case.depth, 3)
    values = rng.standard_normal((frames, 3, n, 2))
    mask = rng.integers(0, 2, (3, n, 2)) if series else None
    if mask is not None:
        mask[0, 0, 0] = 1  # a domain has at least one cell
    coords = {"x": centres(0, 1, 2), "y": centres(-1, 1, n), "z": z}
    times = np.cumsum(rng.random(frames) + 0.1)
    return data.solution(case, times, {"c": (("time", "z", "y", "x"), values)}, coords, mask=mask)


def flow(rng, frames, n, stretched, series):
    return cavity(rng, frames, n, ic=series, width=0.5 + rng.random(), faces=not stretched)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([heat, darcy, box, flow]),
    cases=st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), min_size=1, max_size=4),
    n=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", None]),
    compression=st.sampled_from([None, 3]),
)
def test_solutions_survive_packing_and_files(kind, cases, n, seed, dtype, compression):
    rng = np.random.default_rng(seed)
    stretched = cases[0][1] if kind is flow else None
    made = [kind(rng, t, n, s if stretched is None else stretched, q) for t, s, q in cases]
    packed = data.pack(made, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        data.write(packed, path, compression=compression)
        report = data.validate(path)
        assert report["cases"] == report["checksums"] == len(made)
        opened = data.open(path)
        for source in (packed, opened):
            for i, solution in enumerate(made):
                case, again = data.case(source, i)
                assert case == data.case(packed, i)[0]
                if "mask" in again and "mask" not in solution:  # others of the set have one: then all fluid
                    assert again["mask"].values.all()
                    again = again.drop_vars("mask")
                assert_same_solution(again, solution, dtype)
        opened.close()


@pytest.mark.parametrize("moving", [False, True])
def test_node_layout(tmp_path, moving):
    rng = np.random.default_rng(0)
    made = []
    for i, (frames, nodes) in enumerate([(3, 5), (2, 7)]):
        case = problems.LidDrivenCavity().case(lid_velocity=1.0 + i)
        shape = (frames, nodes) if moving else (nodes,)
        fields = {k: (("time", "node"), rng.standard_normal((frames, nodes))) for k in "uv"}
        cells = rng.integers(0, nodes, (4 + i, 3))
        coords = {"x": rng.random(shape), "y": rng.random(shape)}
        made.append(data.solution(case, np.arange(frames) * 1.0, fields, coords, connectivity=cells))
    packed = data.pack(made, dtype=None)
    assert packed.sizes["obs"] == 3 * 5 + 2 * 7
    assert packed["node_row_size"].values.tolist() == [5, 7]
    data.write(packed, tmp_path / "n.h5")
    assert data.validate(tmp_path / "n.h5")["checksums"] == 2
    for i in range(2):
        assert_same_solution(data.case(data.open(tmp_path / "n.h5"), i)[1], made[i])


def test_steady_nodes(tmp_path):
    case = problems.Poisson().case()
    x = np.array([0.0, 1.0, 0.5])
    made = data.solution(case, None, {"p": (("node",), x * 2)}, {"x": x, "y": x**2}, connectivity=[[0, 1, 2]])
    data.write(data.pack([made, made], dtype=None), tmp_path / "n.h5")
    assert_same_solution(data.case(data.open(tmp_path / "n.h5"), 1)[1], made)


def test_attributes_that_differ_between_cases_stay_with_their_case(tmp_path):
    made = cavities(3)
    made[1].attrs["settings"] = '{"n": 7}'
    made[1].attrs["extra"] = 3
    data.write(data.pack(made), tmp_path / "a.h5")
    for i, solution in enumerate(made):
        assert data.case(data.open(tmp_path / "a.h5"), i)[1].attrs == solution.attrs


def test_failed_cases_keep_their_message_and_may_be_empty(tmp_path):
    made = cavities(2)
    made.append(cavity(np.random.default_rng(0), 0, status="non-finite at t = 0.1"))
    data.write(data.pack(made), tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert found["row_size"].values.tolist() == [3, 4, 0]
    assert data.schema.flag_names(found["status"]).tolist() == ["ok", "ok", "failed"]
    assert data.case(found, 2)[1].attrs["status"] == "non-finite at t = 0.1"


def test_boundary_values_follow_the_lid():
    packed = data.pack(cavities(2))
    rows = packed["frame_case"].values == 1
    case, solution = data.case(packed, 1)
    expected = case.lid_velocity * case.inputs["lid_motion"](solution["time"].values)
    np.testing.assert_allclose(packed["boundary_y_max_u"].values[rows], expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: data.pack([]), "expected at least one"),
        (lambda a: data.pack([a, cavity(np.random.default_rng(0), n=5)]), "differs in grid shape"),
        (lambda a: data.pack([a, heat(np.random.default_rng(0), 2, 3, False, False)]), "problem differs"),
        (lambda a: data.pack([a], fields=["w"]), "no field 'w'"),
        (lambda a: data.pack([a], splits=["train", "test"]), "one name for each of 1 cases"),
        (lambda a: data.pack([a], splits=["tran"]), "did you mean 'train'"),
        (lambda a: data.pack([a], splits={"train": [0], "test": [0]}), "case 0 is in both"),
        (lambda a: data.pack([a], splits={"train": [3]}), "holds case 3"),
        (lambda a: data.case(data.pack([a]), 1), "expected 0 to 0"),
        (lambda a: data.case(data.pack([a]), -1), "expected 0 to 0"),
    ],
)
def test_what_does_not_fit_together_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make(cavity(np.random.default_rng(0)))


def test_the_order_in_which_parts_name_their_fields_does_not_matter():
    one, two = (cavity(np.random.default_rng(k), n=4) for k in range(2))
    names = [str(n) for n in data.pack([two]).attrs["fields"].split()]
    other = data.pack([two]).assign_attrs(fields=" ".join(reversed(names)))
    joined = data.concat([data.pack([one]), other])
    assert joined.attrs["fields"].split() == names
    for name in names:
        np.testing.assert_array_equal(joined[name].values, data.pack([one, two])[name].values)
