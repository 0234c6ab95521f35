"""Columns of numbers in text, in the forms in which people write them, and files that are wrong in known ways."""

import tomllib

import numpy as np
import pytest
from _imported import layout_of, read

from sciml.data.importers._serving import answer, recognised
from sciml.data.importers._source import Source
from sciml.data.importers._text import columns
from sciml.errors import FileFormatError, InputError
from sciml.support import Grid, Points

RNG = np.random.default_rng(0)
X, Y = np.meshgrid(np.linspace(0, 1, 5), np.linspace(2, 3, 4))
U = RNG.normal(size=X.shape).round(4)


def written(path, head, *cols, cut=",", sign=".", end=""):
    rows = [
        cut.join(f"{v:.6g}".replace(".", sign) for v in row) + end for row in zip(*map(np.ravel, cols), strict=True)
    ]
    path.write_text(head + "\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("cut", "sign", "head"),
    [
        (",", ".", "x [m],y [m],u [m/s]"), (";", ".", "x (m);y (m);u (m/s)"), (";", ",", '"x [m]";"y [m]";"u [m/s]"'),
        ("\t", ",", "x [m]\ty [m]\tu [m/s]"), ("  ", ".", "# x [m]  y [m]  u [m/s]"),
        (" ", ",", "! x (m) y (m) u (m/s)"),
        (", ", ".", "Variables = x [m], y [m], u [m/s]\nZONE I=5, J=4"), ("\t", ".", "x\ty\tu\n[m]\t[m]\t[m/s]"),
    ],
)  # fmt: skip
def test_delimiters_decimal_signs_headings_and_units(tmp_path, cut, sign, head):
    path = written(tmp_path / "a.txt", head, X, Y, U, cut=cut, sign=sign)
    assert layout_of(path) == "table"
    (s,), (raw,), _ = read(path)
    assert isinstance(raw.support, Grid) and np.allclose(s["u"].values, U) and s["u"].attrs["units"] == "m/s"
    assert np.allclose(s["x"].values, X[0]) and s["x"].attrs["units"] == "m"


def test_rows_in_any_order_are_a_grid_and_others_points(tmp_path):
    order = RNG.permutation(X.size)
    (s,), (raw,), _ = read(written(tmp_path / "a.csv", "x,y,u", *(a.ravel()[order] for a in (X, Y, U))))
    assert isinstance(raw.support, Grid) and raw.support.uniform_cells and np.allclose(s["u"].values, U)
    place = RNG.random((9, 2)).round(5)
    _, (raw,), _ = read(written(tmp_path / "b.csv", "x,y,u", place[:, 0], place[:, 1], place[:, 0]))
    assert isinstance(raw.support, Points) and np.allclose(raw.support.position, place)


def test_missing_cells_are_outside_of_the_domain(tmp_path):
    """Empty, "NaN" and "-" cells; and rows that are not there at all."""
    path = written(tmp_path / "a.csv", "x,y,u", X, Y, U)
    lines = path.read_text().splitlines()
    for row, cell in ((3, ""), (9, "NaN"), (12, "-")):
        lines[row] = ",".join([*lines[row].split(",")[:2], cell])
    del lines[17]
    path.write_text("\n".join(lines))
    (s,), _, _ = read(path)
    assert s["mask"].values.ravel().tolist() == [k + 1 not in (3, 9, 12, 17) for k in range(20)]


def test_columns_of_cases_and_times_and_parameters(tmp_path):
    case, t, x = np.meshgrid([7, 3], [0.5, 0.0, 1.0], np.linspace(0, 1, 4), indexing="ij")
    path = written(tmp_path / "all.dat", "case t x u Re", case, t, x, case + t * x, 100 * case, cut=" ")
    solutions, raws, notes = read(path)
    assert [r.label for r in raws] == ["case 7.0", "case 3.0"] and [r.parameters["Re"] for r in raws] == [700, 300]
    assert solutions[1]["time"].values.tolist() == [0, 0.5, 1] and any("'Re' has one value a case" in n for n in notes)
    assert np.allclose(solutions[0]["u"].values, 7 + np.outer([0, 0.5, 1], x[0, 0]))


def test_a_file_a_case_with_parameters_in_names_and_a_plan(tmp_path):
    for k in (1, 2, 10):
        written(tmp_path / f"U={k}.csv", "x,T,p", np.arange(4), np.full(4, k), np.zeros(4))
    _, raws, _ = read(tmp_path)
    assert [r.label for r in raws] == ["U=1.csv", "U=2.csv", "U=10.csv"] and set(raws[0].fields) == {"T", "p"}
    plan = tomllib.loads(answer({"do": "draft", "source": str(tmp_path)}, lambda a, b: None)["toml"])
    assert plan["parameters"]["U"] == {"from": "path:U"}
    plan["fields"] = {"T": {"from": "T", "offset": 273.15, "unit": "K"}}
    solutions, raws, notes = read(tmp_path, plan)
    assert [r.parameters["U"] for r in raws] == [1, 2, 10] and np.allclose(solutions[2]["T"].values, 283.15)
    assert "columns that are left out: p" in notes
    (s,), _, _ = read(tmp_path, {"options": {"files": "times"}, "time": {"step": 0.5, "unit": "s"}})
    assert s["time"].values.tolist() == [0, 0.5, 1] and s["T"].values[:, 0].tolist() == [1, 2, 10]


def test_places_that_differ_from_file_to_file_are_points(tmp_path):
    written(tmp_path / "a.csv", "x,T", np.arange(4), np.arange(4))
    written(tmp_path / "b.csv", "x,T", np.arange(5), np.arange(5))
    _, raws, notes = read(tmp_path)
    assert [r.support.size for r in raws] == [4, 5] and any("places differ from file to file" in n for n in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Time (s) P1 (Pa) P2 (Pa)\n0 1 2\n1 2 3\n2 3 4\n", "a series over time"),
        ("x coord, y coord\n0,1\n1,2\n2,4\n", "positions alone"),
        ("1 2 3\n4 5 6\n7 8 9\n", "columns without a heading"),
        ("a,b,c\n1,2,3\n4,5,6\n", "which columns are positions is not told: a, b, c"),
    ],
)
def test_what_needs_to_be_told_is_said(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    found = recognised(Source(tmp_path / "a.csv"))
    assert said in found.needs and "--explain" in found.needs
    with pytest.raises(FileFormatError, match=said):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t + "0.5,2.1", "line 22, the last one, has 2 columns, others 3; is the file truncated"),
        (lambda t: t.replace("0.25,2,", "0.25;2;"), "line 3 has 1 columns, others 3"),
        (lambda t: t.replace("0.25,2,", "0.25,two,"), "line 3: expected a number in column 2, got 'two'"),
        (lambda t: t + "1,3,0.5\n", r"a place occurs twice, with different values: \(3, 1\) along y, x"),
    ],
)
def test_lines_that_do_not_fit_are_named(tmp_path, change, said):
    path = written(tmp_path / "a.csv", "x,y,u", X, Y, U)
    path.write_text(change(path.read_text()))
    with pytest.raises(FileFormatError, match=said) as caught:
        read(path, layout="table")
    assert "a.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_heading_that_comes_again_and_other_habits():
    """Repeated headings, delimiters behind every line, Fortran's exponents, byte marks are the source's affair."""
    found = columns("x;u;\n1;2;\nx;u;\n2;3;\n", "a")
    assert (
        found.names == ("x", "u") and found.values.tolist() == [[1, 2], [2, 3]] and "repeated 1 times" in found.notes[0]
    )
    assert columns("x u\n1.0D-03 2\n2 3\n", "a").values[0, 0] == 1e-3
    assert columns('n,"10,000"\n1,2\n3,4\n', "a").names == ("n", "10,000")
    assert columns("# t - energy - rate (W)\n1 2 3\n4 5 6\n", "a").names == ("t", "energy", "rate")
    with pytest.raises(FileFormatError, match="holds no line of numbers"):
        columns("# nothing\n", "a")


def test_others_text_is_left_alone(tmp_path):
    (tmp_path / "a.txt").write_text("#DaVis 8.1 2D-vector\n" + "1,0 2,0 3,0 4,0\n" * 5)
    (tmp_path / "b.vec").write_text('TITLE="x"\n1, 2, 3\n' * 5)
    (tmp_path / "c.txt").write_text("Some words, and then some more of them.\nNothing else is here.\n")
    assert recognised(Source(tmp_path)) is None or recognised(Source(tmp_path)).layout != "table"


def test_plans_that_do_not_fit(tmp_path):
    path = written(tmp_path / "a.csv", "x,y,u", X, Y, U)
    for plan, said in (
        ({"fields": {"w": {"from": "v"}}}, "no column is called 'v'"),
        ({"coordinates": {"q": {}}}, "expected x, y or z"),
        ({"steady": False}, "there are no times"),
        ({"parameters": {"a": {"from": "u"}}, "fields": {"v": {"from": "u"}}}, "not the same in all rows"),
    ):
        with pytest.raises((InputError, FileFormatError), match=said):
            read(path, plan)


def test_many_lines_are_quick():
    import time

    values = RNG.random((100_000, 3)).round(6)
    text = "x;y;u\n" + "\n".join(f"{a};{b};{c}".replace(".", ",") for a, b, c in values.tolist())
    began = time.process_time()
    found = columns(text, "a")
    assert np.array_equal(found.values, values) and time.process_time() - began < 5
