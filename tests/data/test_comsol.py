"""COMSOL's text exports: heads in any language, columns by time and by parameter, files without a head, damage."""

import numpy as np
import pytest

from sciml import data
from sciml.data import importers
from sciml.data.importers import comsol
from sciml.errors import FileFormatError, InputError

POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [0.25, 0.5], [0.0, 1.0]])
FLOW = """\
% Model:      ns2d.mph
% Version:    COMSOL 6.0.0.354
% Date:       Aug 11 2023, 23:08
% Dimension:   2
% Nodes:      4
% Expressions:   3
% Description:   速度场，x 分量, 速度场，y 分量, 压力
% Length unit:   m
% x               y                u (m/s)          v (m/s)          p (kg/(m*s^2))
0                 0                0                0                -1.3906447174104052E-6
1                 0                0.5              -0.25            2
0.25              0.5              1E-3             4                NaN
0                 1                1                2                3
"""
HEAT = """\
% Model:      burgers1d.mph
% Dimension:   1
% Nodes:      3
% Description:   因变量 u
% X               u (1) @ t=0      u (1) @ t=0.1    u (1) @ 3: t=0.25
-1                0                1                2
-0.98             10               11               12
0.5               20               21               22
"""
SWEEP = """\
% x               y                u @ Re=100       p (Pa) @ Re=100   u @ Re=200       p (Pa) @ Re=200
0                 0                1                2                3                4
1                 1                5                6                7                8
"""
BARE = "-0.5 -0.5 1\n-0.25 -0.5 2\n\n-0.5 0.75 3\n"


def put(folder, text, name="a.dat", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_flow_with_a_head_in_chinese(tmp_path, encoding):
    table = comsol.read(put(tmp_path, FLOW, encoding=encoding))
    np.testing.assert_array_equal(table.points, POINTS)
    assert table.names == ("u", "v", "p") and [c.unit for c in table.columns] == ["m/s", "m/s", "kg/(m*s^2)"]
    assert table.times is None and table.cases == ({},)
    assert table.head["Description"] == "速度场，x 分量, 速度场，y 分量, 压力"
    assert table.head["Date"] == "Aug 11 2023, 23:08"
    np.testing.assert_array_equal(table.field("v"), [0, -0.25, 4, 2])
    assert table.field("p")[0] == -1.3906447174104052e-6 and np.isnan(table.field("p")[2])


def test_points_without_values_are_left_out_of_a_solution(tmp_path):
    (found,) = comsol.solutions(comsol.read(put(tmp_path, FLOW)), "flow", nu=0.5)
    assert found.sizes == {"node": 3} and found.attrs["model"] == "ns2d.mph"
    np.testing.assert_array_equal(found["x"], [0, 1, 0])
    np.testing.assert_array_equal(found["p"], [-1.3906447174104052e-6, 2, 3])
    assert found["p"].attrs["units"] == "kg/(m*s^2)"


def test_columns_by_time(tmp_path):
    table = comsol.read(put(tmp_path, HEAT))
    np.testing.assert_array_equal(table.times, [0, 0.1, 0.25])
    np.testing.assert_array_equal(table.field("u"), [[0, 10, 20], [1, 11, 21], [2, 12, 22]])
    (found,) = comsol.solutions(table, "burgers1d")
    assert found["u"].dims == ("time", "node") and found["u"].shape == (3, 3)
    np.testing.assert_array_equal(found["u"].sel(time=0.25), [2, 12, 22])


def test_columns_by_parameter_are_cases(tmp_path):
    table = comsol.read(put(tmp_path, SWEEP))
    assert table.cases == ({"Re": 100.0}, {"Re": 200.0})
    np.testing.assert_array_equal(table.field("p", Re=200.0), [4, 8])
    with pytest.raises(InputError, match="2 columns"):
        table.field("p")
    with pytest.raises(InputError, match="known: u, p"):
        table.field("q")
    found = comsol.solutions(table, "cavity", a=2.0)
    assert [data.case(data.pack(found), i)[0].parameters for i in range(2)] == [
        {"Re": 100.0, "a": 2.0},
        {"Re": 200.0, "a": 2.0},
    ]
    np.testing.assert_array_equal(found[1]["u"], [3, 7])


def test_time_and_parameter_together(tmp_path):
    text = "% x u @ t=0, k=1 u @ t=1, k=1 u @ t=0, k=2 u @ t=1, k=2\n0 1 2 3 4\n1 5 6 7 8\n"
    table = comsol.read(put(tmp_path, text))
    assert table.cases == ({"k": 1.0}, {"k": 2.0})
    np.testing.assert_array_equal(table.field("u", k=2.0), [[3, 7], [4, 8]])


def test_no_head(tmp_path):
    path = put(tmp_path, BARE)
    table = comsol.read(path)
    assert table.names == ("u",) and table.head == {}
    np.testing.assert_array_equal(table.points, [[-0.5, -0.5], [-0.25, -0.5], [-0.5, 0.75]])
    np.testing.assert_array_equal(table.field("u"), [1, 2, 3])
    assert comsol.read(path, ("x", "a", "b")).names == ("a", "b")
    with pytest.raises(InputError, match="expected 3"):
        comsol.read(path, ("x", "u"))
    with pytest.raises(InputError, match="names its columns itself"):
        comsol.read(put(tmp_path, HEAT, "h.dat"), ("x", "u"))


def test_a_folder_becomes_a_data_set(tmp_path):
    source = tmp_path / "tree"
    source.mkdir()
    put(source, SWEEP, "lid_a2.dat")
    put(source, SWEEP.replace("8\n", "9\n"), "lid_a8.dat")
    told = {"lid_a2.dat": {"a": 2.0}, "lid_a8.dat": {"a": 8.0}}
    path = importers.comsol.import_tree(source, tmp_path / "d.h5", name="lids", parameters=told)
    ds = data.open(path)
    assert ds.sizes["case"] == 4 and ds["u"].dtype == np.float64
    case, truth = data.case(ds, 3)
    assert case.problem.name == "lids" and case.parameters == {"Re": 200.0, "a": 8.0}
    np.testing.assert_array_equal(truth["p"], [4, 9])
    np.testing.assert_array_equal(ds["a"], [2, 2, 8, 8])
    with pytest.raises(InputError, match=r"'b\.dat' is not one of the files"):
        comsol.import_tree(source, tmp_path / "e.h5", parameters={"b.dat": {}})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FLOW.replace("Nodes:      4", "Nodes: 5"), "Nodes is '5' in the head"),
        (FLOW.replace("Expressions:   3", "Expressions: 2"), "Expressions is '2'"),
        (FLOW.replace("Dimension:   2", "Dimension: 3"), "Dimension is '3'"),
        (FLOW.replace("(kg/(m*s^2))", "(kg/(m*s^2)"), "do not close"),
        (FLOW.replace("v (m/s)", ""), "names 4 columns, the lines have 5"),
        (FLOW.replace("\n0.25 ", "\n1+2i "), "line 12: expected real numbers"),
        (FLOW.replace("\n0.25  ", "\n0.25 1 "), "line 12: 6 numbers, expected 5"),
        (FLOW.replace("\n0.25 ", "\ninf "), "not finite"),
        (FLOW.replace("% x   ", "% r   "), "expected coordinates x, y, z"),
        ("% x u\n", "holds no numbers"),
        ("", "holds no numbers"),
        ("\x00\x01\xff" * 40, "expected real numbers"),
        ("% x y\n0 1\n", "then values"),
    ],
)
def test_damage_is_refused_with_the_place(tmp_path, text, told):
    with pytest.raises(FileFormatError, match=told):
        comsol.read(put(tmp_path, text))


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        comsol.read(tmp_path / "none.dat")
    with pytest.raises(InputError, match="not a file"):
        comsol.read(tmp_path)
    with pytest.raises(InputError, match="found none"):
        comsol.import_tree(tmp_path, tmp_path / "d.h5")


def test_random_damage_ends_in_a_plain_refusal(tmp_path):
    rng = np.random.default_rng(0)
    for text in (FLOW, HEAT, SWEEP, BARE):
        whole = np.frombuffer(text.encode(), np.uint8)
        for _ in range(60):
            broken = whole[: rng.integers(1, len(whole) + 1)].copy()
            places = rng.integers(0, len(broken), 3)
            broken[places] = rng.integers(0, 256, 3)
            path = tmp_path / "broken.dat"
            path.write_bytes(broken.tobytes())
            try:
                table = comsol.read(path)
            except InputError:
                continue
            assert table.values.shape == (len(table.points), len(table.columns))
