"""What tables of other programs hold beside numbers: dates, counted rows, units that differ from file to file."""

import numpy as np
import pytest
from _imported import read

from sciml.data.importers._dates import seconds
from sciml.data.importers._serving import recognised
from sciml.data.importers._source import Source
from sciml.data.importers._units import agree, plain
from sciml.errors import FileFormatError

X, Y = np.meshgrid(np.linspace(0, 1, 5), np.linspace(2, 3, 4))
U = np.random.default_rng(0).normal(size=(3, *X.shape)).round(4)


def written(path, head, first, fields=U, cut=","):
    """Rows of x, y, u behind what `first` says of a frame."""
    rows = [
        cut.join([*first(k), f"{a:.6g}", f"{b:.6g}", f"{c:.6g}"])
        for k, u in enumerate(fields)
        for a, b, c in zip(X.ravel(), Y.ravel(), u.ravel(), strict=True)
    ]
    path.write_text(head + "\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("form", ["2024-02-28 23:{:02d}:00", "2024-02-28T23:{:02d}:00+01:00", "23:{:02d}:00"])
def test_dates_are_times(tmp_path, form):
    """Seconds from the first on, whether the column is called time or not."""
    (s,), _, notes = read(written(tmp_path / "a.csv", "when,x,y,u", lambda k: [form.format(15 * k)]))
    assert s["time"].values.tolist() == [0.0, 900.0, 1800.0] and s["time"].attrs["units"] == "s"
    assert np.allclose(s["u"].values, U) and any("dates of 'when'" in n for n in notes)


def test_dates_differ_by_the_seconds_between_them():
    found = seconds(["2024-02-28 00:00:00", "2024-03-01T00:00Z", "NaT"])
    assert found[1] - found[0] == 2 * 86400 and np.isnan(found[2])  # a leap year
    assert seconds(["28.02.2024 00:00"]) is None and seconds(["steel"]) is None and seconds(["NaT"]) is None


def test_the_one_column_in_a_unit_of_time_tells_frames(tmp_path):
    (s,), _, notes = read(written(tmp_path / "a.csv", "Zeit [ms],x,y,u", lambda k: [f"{2.5 * k}"]))
    assert s["time"].values.tolist() == [0.0, 2.5, 5.0] and s["time"].attrs["units"] == "ms"
    assert np.allclose(s["u"].values, U) and any("column 'Zeit'" in n for n in notes)


def test_places_that_come_back_with_other_values_are_not_read_as_more_places(tmp_path):
    with pytest.raises(FileFormatError, match="places come up to 3 times, and no column is known to tell times"):
        read(written(tmp_path / "a.csv", "x,y,u", lambda k: []))
    with pytest.raises(FileFormatError, match=r"\(when holds text: write numbers, or dates as"):
        read(written(tmp_path / "b.csv", "when,x,y,u", lambda k: [f"{k + 1}. Mai"]))


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "id", "Point ID"])
def test_columns_that_count_rows_are_no_fields_and_no_cases(tmp_path, name):
    path = written(tmp_path / "a.csv", "x,y,u", lambda k: [], U[:1])
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{name},{head}", *(f"{k},{row}" for k, row in enumerate(rows))]))
    (s,), _, notes = read(path)
    assert np.allclose(s["u"].values, U[0]) and any(f"left out: {name or 'c1'}" in n for n in notes)


def test_a_column_that_tells_cases_stays_one(tmp_path):
    solutions, _, _ = read(written(tmp_path / "a.csv", "id,x,y,u", lambda k: [str(k)]))
    assert [np.allclose(s["u"].values, u) for s, u in zip(solutions, U, strict=True)] == [True] * 3


def test_positions_as_paraview_calls_them(tmp_path):
    path = written(tmp_path / "a.csv", '"Points:0","Points:1","p"', lambda k: [], U[:1])
    (s,), _, _ = read(path)
    assert np.allclose(s["p"].values, U[0]) and np.allclose(s["y"].values, Y[:, 0])


@pytest.mark.parametrize("head", ["x [m],y [m],u [degC]", "x [mm],y [m],u [K]"])
def test_files_in_different_units_are_refused(tmp_path, head):
    written(tmp_path / "a.csv", "x [m],y [m],u [K]", lambda k: [], U[:1])
    written(tmp_path / "b.csv", "x (metre),y (m),u [kelvin]", lambda k: [], U[1:2])
    assert len(read(tmp_path)[0]) == 2
    written(tmp_path / "c.csv", head, lambda k: [], U[2:])
    with pytest.raises(FileFormatError, match=r"c.csv: column '.' is in '.*', but in '.*' in .*bring the files"):
        read(tmp_path)


def test_units_that_are_written_differently_are_one():
    for units in (
        ["m/s", "m s-1", "m s^-1", "m.s**-1", "m*s^(-1)", "meter per second", "m·s⁻¹"],
        ["kg/(m s)", "kg m-1 s-1", "kg/m/s"],
        ["W/(m^2 K)", "W m-2 K-1"], ["°C", "degC", "celsius", "degrees C"], ["1/s", "s-1"], ["", "-", "1"],
        ["degrees_north", "degrees_east"], ["m²/s", "m2 s-1"],
    ):  # fmt: skip
        assert len({plain(u) for u in units}) == 1, units
    others = ["m", "mm", "km", "10 m", "m/s", "m s", "K", "degC", "degF", "Pa", "kPa", "%", "1e-3 m", "s-1", "1"]
    assert len({plain(u) for u in others}) == len(others)
    agree({"a": {"u": ""}, "b": {"u": "K"}, "c": {"u": "1"}})  # what has no unit fits any


@pytest.mark.parametrize("timed", [True, False])
def test_the_one_number_that_tells_cases_apart_is_their_parameter(tmp_path, timed):
    """Columns rate, t, x, y, u: without any of cases, places come at one time as often as there are rates."""
    rates, times = [0.5, 0.2, 0.9], [0.0, 0.5] if timed else [0.0]
    fields = np.random.default_rng(1).normal(size=(3, len(times), *X.shape)).round(4)
    path = written(
        tmp_path / "a.csv", "rate,t,x,y,u",
        lambda k: [f"{rates[k // len(times)]}", f"{times[k % len(times)]}"], fields.reshape(-1, *X.shape),
    )  # fmt: skip
    solutions, raws, notes = read(path)
    assert [r.parameters for r in raws] == [{"rate": r} for r in rates]
    assert np.allclose([s["u"].values.reshape(len(times), *X.shape) for s in solutions], fields)
    assert "cases are told apart by column 'rate', which is read as a parameter, too" in notes
    path.write_text("\n".join(line.partition(",")[2] for line in path.read_text().splitlines()))
    with pytest.raises(FileFormatError, match="places come up to 3 times at one time, and no column is known"):
        read(path)


def test_files_called_frames_are_frames_at_the_numbers_in_their_names(tmp_path):
    for k, time in enumerate((0.0, 0.5, 10.0)):
        written(tmp_path / f"out_t{time}.csv", "x,y,u", lambda _: [], U[k : k + 1])
    (s,), _, notes = read(tmp_path)
    assert s["time"].values.tolist() == [0.0, 0.5, 10.0] and np.allclose(s["u"].values, U)
    assert any("files are frames of one case" in n for n in notes)
    assert len(read(tmp_path, {"options": {"files": "cases"}})[0]) == 3


def test_axes_in_different_units_are_refused_and_comments_with_numbers_named(tmp_path):
    path = written(tmp_path / "a.csv", "# rate = 0.5\nx [mm],y [m],u", lambda _: [], U[:1])
    with pytest.raises(FileFormatError, match=r"column 'y': the position is in 'm', but in 'mm' in .* column 'x'"):
        read(path)
    path = written(tmp_path / "a.csv", "# rate = 0.5\nx [m],y [m],u", lambda _: [], U[:1])
    assert "comments are not read: # rate = 0.5" in read(path)[2]


def test_the_beginning_of_a_long_table_does_not_decide(tmp_path):
    """The first 200 rows hold one rate alone, or parts of two: reading goes by all rows."""
    x = np.arange(150.0)
    rows = [f"{r},{t},{a},{r * a + t}" for t in (0, 1) for r in (0.5, 0.25, 0.75) for a in x]
    (tmp_path / "a.csv").write_text("\n".join(["rate,t,x,u", *rows]))
    assert not recognised(Source(tmp_path / "a.csv")).needs
    solutions, raws, _ = read(tmp_path / "a.csv")
    assert [r.parameters["rate"] for r in raws] == [0.5, 0.25, 0.75]
    assert np.allclose(solutions[2]["u"].values, 0.75 * x + np.array([[0.0], [1.0]]))
