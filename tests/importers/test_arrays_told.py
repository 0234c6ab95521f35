"""What lies beside arrays, and times as people write them, is read or named; nothing is left out in silence."""

import os
import zipfile

import numpy as np
import pytest
from _imported import layout_of, read

from sciml.data.importers._serving import _written, answer, chosen
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError

RNG = np.random.default_rng(0)
U = RNG.normal(size=(3, 4, 5, 6))
AXES = {"x": np.linspace(0, 1, 6), "y": np.linspace(1, 3, 5)}
T = np.array([0.0, 0.5, 1.0, 1.5])


def unknown(path):
    with pytest.raises(FileFormatError) as caught:
        chosen(Source(path), "")
    return str(caught.value)


def test_times_that_are_written_as_text(tmp_path):
    """Numbers, and dates, which are seconds from the first on."""
    np.savez(tmp_path / "a.npz", u=U, t=[f"{t:.1f}" for t in T], rate=[2.0, 1.0, 3.0], **AXES)
    solutions, raws, notes = read(tmp_path)
    assert solutions[0]["time"].values.tolist() == T.tolist() and "t holds text: read as numbers" in notes
    assert [r.parameters["rate"] for r in raws] == [2.0, 1.0, 3.0] and np.allclose(solutions[2]["u"].values, U[2])
    for times in (np.datetime64("2024-02-28T23:59:59") + np.arange(4), [f"2024-02-29 00:00:0{k}Z" for k in range(4)]):
        np.savez(tmp_path / "a.npz", u=U, time=times, **AXES)
        solutions, _, notes = read(tmp_path)
        assert solutions[0]["time"].values.tolist() == [0, 1, 2, 3] and solutions[0]["time"].attrs["units"] == "s"
        assert any("turned into seconds" in n for n in notes)


def test_a_time_that_is_no_number_is_named_as_such(tmp_path):
    np.savez(tmp_path / "a.npz", u=U, t=[0.0, np.nan, 1.0, 1.5], rate=[1.0, 2.0, 3.0], **AXES)
    with pytest.raises(FileFormatError, match="times that are not finite, at frame 1"):
        read(tmp_path)


def test_fields_of_whole_numbers_have_parameters_as_others_do(tmp_path):
    np.savez(tmp_path / "a.npz", u=(100 * U).astype(np.int64), t=T, rate=[1.0, 2.0, 3.0], **AXES)
    solutions, raws, _ = read(tmp_path)
    assert [r.parameters for r in raws] == [{"rate": k} for k in (1.0, 2.0, 3.0)]
    assert np.array_equal(solutions[1]["u"].values, (100 * U[1]).astype(np.int64))


def test_tables_beside_that_are_of_something_else_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", u=U, t=T, **AXES)
    (tmp_path / "log.csv").write_text("name,value\nlearn,3\nother,4\n")
    (tmp_path / "sizes.csv").write_text("a,b\n1,2\n2,3\n")
    (tmp_path / "rates.csv").write_text("rate\n1\n2\n4\n")
    _, raws, notes = read(tmp_path)
    assert [r.parameters for r in raws] == [{"rate": k} for k in (1.0, 2.0, 4.0)]
    assert "log.csv: value of 2 rows for 3 cases: left out" in notes
    assert "sizes.csv: a, b of 2 rows for 3 cases: left out" in notes


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_numbers_behind_a_sign_of_equality_in_names_are_parameters(tmp_path, kind):
    for k, u in enumerate(U[:, 0, 0]):
        if kind == "npz":
            np.savez(tmp_path / f"nu={0.5 * k}_run{k}.npz", u=U[k, 0], **AXES)
        else:
            rows = "\n".join(f"{a:.9g},{b:.9g}" for a, b in zip(AXES["x"], u, strict=True))
            (tmp_path / f"nu={0.5 * k}_run{k}.csv").write_text(f"x,u\n{rows}\n")
    _, raws, notes = read(tmp_path)
    assert [r.parameters for r in raws] == [{"nu": 0.0}, {"nu": 0.5}, {"nu": 1.0}]
    assert "numbers in the names of files are parameters: nu" in notes


def test_linked_folders_are_named_and_links_to_nothing_refused(tmp_path):
    source, other, made = tmp_path / "source", tmp_path / "other", tmp_path / "made"
    for folder in (source, other, made):
        folder.mkdir()
    for k in range(2):
        np.savez(source / f"c{k}.npz", u=U[k], t=T, **AXES)
    os.symlink(other, source / "more")
    found = Source(source)
    layout, _ = chosen(found, "arrays")
    from sciml.data.importers._mapping import Plan

    notes = _written(layout, found, Plan(), made, lambda a, b: None)["notes"]
    assert "1 folders that are links, or too deep, are left out: more/" in notes
    os.symlink(tmp_path / "nothing", source / "c9.npz")
    with pytest.raises(InputError, match="a link to what is not there"):
        answer({"do": "read", "source": str(source), "folder": str(made), "seed": 0}, lambda a, b: None)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["[Content_Types].xml", "xl/workbook.xml"], "save its sheets as CSV"),
        (["d/data.pkl"], "is PyTorch's, a pickle"),
        (["a.txt"], "is a zip archive; unpack it"),
    ],
)  # fmt: skip
def test_archives_that_hold_something_else(tmp_path, members, said):
    with zipfile.ZipFile(tmp_path / "d.bin", "w") as file:
        for name in members:
            file.writestr(name, "content")
    assert layout_of(tmp_path) is None and said in unknown(tmp_path) and said in unknown(tmp_path / "d.bin")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PAR1", "to_csv('d.csv', index=False)"), (b"\x80\x04", "np.save('d.npy', array)"),
        (b"$MeshFormat\n4.1", "meshio convert file d.vtu"), (b"GRIB", "cdo -f nc4 copy file d.nc"),
    ],
)  # fmt: skip
def test_files_that_are_not_read_are_called_what_they_are(tmp_path, start, said):
    (tmp_path / "d.bin").write_bytes(start + b"\0" * 300)
    assert said in unknown(tmp_path)


def test_steady_fields_along_a_line_a_file_a_case(tmp_path):
    for k in range(3):
        np.savez(tmp_path / f"c{k}.npz", u=U[k, 0, 0], x=AXES["x"], rate=2.0 * k)
    solutions, raws, _ = read(tmp_path)
    assert [r.parameters for r in raws] == [{"rate": 0.0}, {"rate": 2.0}, {"rate": 4.0}]
    assert all(np.array_equal(s["u"].values, u) for s, u in zip(solutions, U[:, 0, 0], strict=True))
