"""Frames of particle image velocimetry: what the two programs write, bad vectors, and damaged files."""

import numpy as np
import pytest

from sciml import data
from sciml.data import importers
from sciml.data.importers import _piv
from sciml.errors import FileFormatError, InputError

HEAD = (
    'TITLE="C:\\Läufe\\Run1.vec" VARIABLES="X mm", "Y mm", "U m/s", "V m/s", "CHC", DATASETAUXDATA Application="PIV" '
    'DATASETAUXDATA MicrosecondsPerDeltaT="2000.000000" ZONE I=4, J=3, F=POINT\n'
)


def vec(bad=((1, 2),), shift=0.0, filled=()):
    """y falls from line to line, as Insight writes it."""
    lines = []
    for j in range(3):
        for i in range(4):
            flag = -1 if (j, i) in bad else 2 if (j, i) in filled else 1
            lines.append(f"{0.5 * i + 1:.6f}, {-0.25 * j:.6f}, {10 * j + i + shift:.6f}, {-i:.6f}, {flag}\n")
    return HEAD + "".join(lines)


def davis():
    lines = ['#DaVis 8.1.6 2D-vector 32 4 3 "position" "mm" "position" "mm" "velocity" "m/s"\n']
    for j in range(3):
        for i in range(4):
            u = "0\t-0" if (j, i) == (1, 2) else f"{10 * j + i + 0.5:.1f}\t{-i:.1f}"
            lines.append(f"{0.5 * i:.2f}\t{3 - j:.1f}\t{u}\n".replace(".", ","))
    return "".join(lines).replace("8,1,6", "8.1.6")


def imported(source, tmp_path, **plan):
    found = importers.import_data(source, tmp_path.parent / f"{tmp_path.name}.h5", plan=plan or None, overwrite=True)
    return data.open(found.path).load(), found.notes


def test_axes_increase_and_bad_vectors_have_no_value():
    found = _piv.parse(vec(), "a.vec")
    np.testing.assert_allclose(found.axes[1], [-0.5, -0.25, 0.0])
    assert found.values["u"][0].tolist() == [20, 21, 22, 23] and not found.good[1, 2] and found.good.sum() == 11
    assert found.units == {"x": "mm", "y": "mm", "u": "m/s", "v": "m/s"} and np.isnan(found.values["u"][1, 2])


def test_decimal_commas_and_vectors_that_were_removed():
    found = _piv.parse(davis(), "B1.txt")
    assert found.values["u"][2].tolist() == [0.5, 1.5, 2.5, 3.5] and found.good.sum() == 11
    np.testing.assert_allclose(found.axes[0], [0, 0.5, 1, 1.5])


def test_a_folder_is_a_series_whose_bad_places_are_masked_counted_and_said(tmp_path):
    (tmp_path / "Run10.vec").write_bytes(vec(((1, 2), (0, 0)), 2.0).encode("latin-1"))
    (tmp_path / "Run9.vec").write_bytes(vec(filled=((2, 2),)).encode("latin-1"))
    found, notes = imported(tmp_path, tmp_path)
    assert found.sizes["frame"] == 2 and found["mask"].values.sum() == 10
    assert found["u"].values[:, 2, 3].tolist() == [3, 5]  # the ninth comes before the tenth
    assert any("3 of 24 vectors are bad (12.5%): 2 of 12 places are outside" in n for n in notes)
    assert any("time between" in n or "times between frames" in n for n in notes)
    assert any("1 vectors were put in by the program" in n for n in notes)
    case, _ = data.case(found, 0)
    assert case.problem.velocity == ("u", "v") and case.problem.length_unit == "mm"
    found, notes = imported(tmp_path, tmp_path, time={"step": 0.1, "unit": "s"}, options={"bad_share": 0.5})
    np.testing.assert_allclose(found["time"].values, [0, 0.1])
    assert found["mask"].values.sum() == 11 and found["u"].values[1, 2, 0] == 0.0  # as in the frame where it is good
    assert any("1 vectors are filled in time" in n for n in notes)


def test_frames_that_do_not_belong_together(tmp_path):
    (tmp_path / "a1.vec").write_bytes(vec().encode("latin-1"))
    (tmp_path / "a2.vec").write_bytes(vec().replace("Y mm", "Y cm").encode("latin-1"))
    with pytest.raises(FileFormatError, match="another grid, columns or units"):
        imported(tmp_path, tmp_path)
    with pytest.raises(InputError, match="bad_share"):
        imported(tmp_path / "a1.vec", tmp_path, options={"bad_share": 1.5})
    (tmp_path / "a2.vec").write_bytes(vec().replace("1.500000, ", "1.600000, ").encode("latin-1"))
    with pytest.raises(FileFormatError, match="another grid, columns or units"):
        imported(tmp_path, tmp_path)
    found, _ = imported(tmp_path / "a1.vec", tmp_path)
    assert "time" not in found.variables


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("I=4", "I=5", "12 vectors, but the head says 15"),
        ("I=4", "I=-4", "a grid of -4 x 3"),
        ("I=4", "I=40000000", "12 vectors, but the head says"),
        ("VARIABLES", "COLUMNS", "expected VARIABLES"),
        ('"X mm"', '"A mm"', "expected columns X, Y"),
        ("1.500000, 0.000000, 1.000000", "1.500000, 0.000000, abc", "line 3: expected numbers"),
        ("1.500000, -0.000000, 1.000000", "1.500000, -0.000000", "line 3: 4 numbers, expected 5"),
        ("1.500000, -0.000000", "nan, 0.000000", "no finite place"),
        ("1.500000, -0.000000", "1.900000, -0.000000", "not those of a grid"),
    ],
)
def test_damaged_frames_are_refused_in_one_line(old, new, said):
    text = vec()
    old = old if old in text else old.replace("0.000000", "-0.000000")
    assert old in text
    with pytest.raises(FileFormatError, match=said) as error:
        _piv.parse(text.replace(old, new, 1), "a.vec")
    assert "\n" not in str(error.value)


def test_empty_and_truncated_files():
    with pytest.raises(FileFormatError, match="empty"):
        _piv.parse("\n \n", "a.vec")
    with pytest.raises(FileFormatError, match="11 vectors, but the head says 12"):
        _piv.parse("".join(davis().splitlines(True)[:-1]), "a.txt")
    with pytest.raises(FileFormatError, match="line 1: expected sizes"):
        _piv.parse("#DaVis 8\n1 2 3 4\n", "a.txt")
