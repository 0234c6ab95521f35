"""Arrays of numbers that tell themselves what they are, that need a plan, and that are wrong in known ways."""

import io
import tomllib
import zipfile

import numpy as np
import pytest
import scipy.io
from _imported import layout_of, read

from sciml.data import importers
from sciml.data.importers._mapping import Plan, toml
from sciml.data.importers._serving import answer, recognised
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError
from sciml.support import Mesh, Points

RNG = np.random.default_rng(0)
POINTS = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1], [2, 1]])
CELLS = np.array([[0, 1, 2], [1, 3, 2], [1, 4, 3]])


def draft(path):
    return tomllib.loads(answer({"do": "draft", "source": str(path)}, lambda a, b: None)["toml"])


def needs(path):
    return recognised(Source(path)).needs


def x_of(solution):
    return solution["x"].values


def test_matching_lengths_tell_everything(tmp_path):
    """Cases by parameters, times and axes by their arrays; values land where they belong."""
    u = RNG.normal(size=(3, 4, 5, 6))
    x, y, t = np.linspace(0, 1, 6), np.linspace(1, 3, 5), 0.5 * np.arange(4)
    np.savez(tmp_path / "flow.npz", u=u, x=x, y=y, t=t, params=[[1.0, 2], [3, 4], [5, 6]], dt=0.5)
    assert layout_of(tmp_path / "flow.npz") == "arrays"
    solutions, raws, _ = read(tmp_path / "flow.npz")
    for k, s in enumerate(solutions):
        assert np.array_equal(s["u"].transpose("time", "y", "x").values, u[k])
        assert np.array_equal(s["time"].values, t) and np.allclose(x_of(s), x)
        assert np.allclose(raws[k].support.extents, [(-0.1, 1.1), (0.75, 3.25)])  # places are centres of cells
    assert raws[1].parameters == {"p1": 3.0, "p2": 4.0, "dt": 0.5} or raws[1].parameters == {"p1": 3.0, "p2": 4.0}


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_a_matlab_trajectory_in_either_order_of_axes(tmp_path, axes):
    u = RNG.normal(size=(8, 5))
    content = {"x": np.linspace(-1, 1, 8), "t": np.arange(5.0), "usol": np.transpose(u + 1e-9j, axes)}
    scipy.io.savemat(tmp_path / "kdv.mat", content)
    (s,), _, notes = read(tmp_path / "kdv.mat")
    assert np.allclose(s["usol"].transpose("time", "x").values, u.T) and any("imaginary" in n for n in notes)


def test_complex_fields_become_two(tmp_path):
    u = RNG.normal(size=(5, 8)) + 1j * RNG.normal(size=(5, 8))
    np.savez(tmp_path / "psi.npz", psi=u, x=np.linspace(0, 1, 8), t=np.arange(5.0))
    (s,), _, notes = read(tmp_path / "psi.npz")
    assert np.array_equal(s["psi_re"].values, u.real) and np.array_equal(s["psi_im"].values, u.imag)
    assert any("complex" in n for n in notes)


def test_values_on_a_mesh(tmp_path):
    """Cells counted from 1, a third coordinate that is the same everywhere, positions that differ by case."""
    T = RNG.normal(size=(3, 5))
    flat = np.concatenate([POINTS, np.full((5, 1), 7.0)], axis=1)
    np.savez(tmp_path / "a.npz", points=flat, triangles=CELLS + 1, T=T, mu=RNG.random((3, 2)))
    solutions, raws, notes = read(tmp_path / "a.npz")
    assert isinstance(raws[0].support, Mesh) and np.array_equal(raws[0].support.cells["triangle"], CELLS)
    assert np.array_equal(solutions[2]["T"].values, T[2]) and any("from 1" in n for n in notes)
    moved = POINTS * np.array([1.0, 2.0, 3.0])[:, None, None]
    np.savez(tmp_path / "b.npz", coords=POINTS, points=moved, triangles=CELLS, T=T)
    _, raws, notes = read(tmp_path / "b.npz")
    assert np.array_equal(raws[2].support.position, moved[2]) and any(n.startswith("coords is left out") for n in notes)


def test_scattered_points_by_axis_and_static_inputs(tmp_path):
    place = RNG.random((7, 2))
    T, k = RNG.normal(size=(2, 4, 7)), RNG.random((2, 7))
    np.savez(tmp_path / "a.npz", x=place[:, 0], y=place[:, 1], t=np.arange(4.0), T=T, kappa=k, nu=[2.0, 1.0])
    _, raws, _ = read(tmp_path / "a.npz")
    assert isinstance(raws[0].support, Points) and np.array_equal(raws[0].support.position, place)
    assert np.array_equal(raws[1].fields["T"], T[1]) and np.array_equal(raws[1].inputs["kappa"], k[1])
    assert raws[0].parameters == {"nu": 2.0}


def test_train_and_test_by_names_and_groups_by_numbers(tmp_path):
    """Two resolutions: a plan chooses; splits and roles follow from names."""
    made = {}
    for split, n in (("train", 4), ("test", 2)):
        for size in (6, 8) if split == "test" else (6,):
            made[f"{split}_{size}_x"] = RNG.integers(0, 2, (n, size, size)).astype("u1")
            made[f"{split}_{size}_y"] = RNG.normal(size=(n, size, size)).astype("f4")
    np.savez(tmp_path / "darcy.npz", **made)
    assert '"6", "8"' in needs(tmp_path / "darcy.npz")
    _, raws, notes = read(tmp_path / "darcy.npz", {"options": {"group": "6"}})
    assert [r.split for r in raws] == ["train"] * 4 + ["test"] * 2
    assert np.array_equal(raws[4].fields["u"], made["test_6_y"][0])
    assert np.array_equal(raws[4].inputs["a"], made["test_6_x"][0])
    assert any("test_8_x, test_8_y" in n for n in notes)
    plan = draft(tmp_path / "darcy.npz")
    assert plan["options"]["group"] == "6"
    _, again, _ = read(tmp_path / "darcy.npz", plan)
    assert [np.array_equal(a.fields["u"], b.fields["u"]) for a, b in zip(raws, again, strict=True)] == [True] * 6


def test_a_folder_a_case_with_shared_axes(tmp_path):
    """Numbers behind "=" in paths are read; JSON and tables beside are parameters; splits by folders."""
    for k in range(3):
        place = tmp_path / ("train" if k else "test") / f"Re={k + 1}00"
        place.mkdir(parents=True)
        np.save(place / "u.npy", np.full((4, 6), float(k)).astype(">f4"))
        (place / "about.json").write_text('{"nu": %g, "by": "me"}' % (k + 1))
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 6)[::-1])
    np.save(tmp_path / "t.npy", np.arange(4.0))
    (tmp_path / "readme.md").write_text("hello")
    _, raws, notes = read(tmp_path)
    assert [r.split for r in raws] == ["test", "train", "train"]
    assert [r.parameters for r in raws] == [{"nu": k, "Re": 100.0 * k} for k in (1.0, 2.0, 3.0)]
    assert raws[2].label == "train/Re=300" and raws[2].fields["u"].dtype == np.float32
    assert any("backwards" in n for n in notes) and any("readme.md" in n for n in notes)
    plan = draft(tmp_path)
    assert plan["parameters"]["Re"] == {"from": "path:Re"}
    assert [r.parameters for r in read(tmp_path, plan)[1]][2] == {"nu": 3.0, "Re": 300.0}


def test_a_file_a_case_a_file_a_frame(tmp_path):
    for k in range(4):
        np.savez(tmp_path / f"case_{k:03d}.npz", u=np.full((6, 5), k), x=np.arange(5.0), nu=0.1 * k)
    _, raws, notes = read(tmp_path)
    assert [r.parameters["nu"] for r in raws] == pytest.approx([0, 0.1, 0.2, 0.3]) and raws[3].fields["u"].max() == 3
    assert any("no times are told" in n for n in notes)
    frames = tmp_path / "frames"
    frames.mkdir()
    for k in (10, 9, 2):
        np.save(frames / f"u_t_{k}.npy", np.full((4, 5), float(k)))
    (s,), _, _ = read(frames, {"axes": {"order": ["time", "y", "x"]}})
    assert s["time"].values.tolist() == [2, 9, 10] and s["u"].values[:, 0, 0].tolist() == [2, 9, 10]


def test_masks_of_grids_and_of_nodes(tmp_path):
    u, mask = RNG.normal(size=(2, 4, 5)) + 9, np.ones((4, 5))
    mask[1:3, 2] = 0
    given = {"x": np.arange(5.0), "y": np.arange(4.0), "params": np.ones((2, 1))}
    np.savez(tmp_path / "in.npz", u=u * mask, mask=mask, **given)
    np.savez(tmp_path / "out.npz", u=u * mask, mask=1 - mask, **given)
    np.savez(tmp_path / "both.npz", u=u, mask=mask, **given)
    for name in ("in", "out"):
        _, raws, notes = read(tmp_path / f"{name}.npz")
        assert np.array_equal(raws[0].support.mask, mask) and any("of the domain" in n for n in notes)
    with pytest.raises(FileFormatError, match=r"inside or outside .* \[options\] mask = \"mask\""):
        read(tmp_path / "both.npz")
    _, raws, _ = read(tmp_path / "both.npz", {"options": {"solid": "mask"}})
    assert np.array_equal(raws[0].support.mask, 1 - mask)
    T = RNG.normal(size=(2, 5))
    np.savez(tmp_path / "nodes.npz", points=POINTS, cells=CELLS, T=T, mask=[1, 1, 1, 1, 0], nu=[1.0, 0.5])
    _, raws, _ = read(tmp_path / "nodes.npz", {"options": {"mask": "mask"}})
    assert raws[0].support.size == 4 and len(raws[0].support.cells["triangle"]) == 2
    assert np.array_equal(raws[1].fields["T"], T[1, :4])


def test_a_plan_tells_what_arrays_do_not(tmp_path):
    """Order of axes, components, units, scales, ends of the domain, periodic axes, steps of time."""
    values = RNG.normal(size=(2, 3, 2, 4, 8))
    np.save(tmp_path / "vel.npy", values)
    assert "along which axes vel" in needs(tmp_path / "vel.npy")
    with pytest.raises(FileFormatError, match="along which axes vel"):
        read(tmp_path / "vel.npy")
    plan = {
        "problem": "duct", "periodic": ["x"], "axes": {"order": ["case", "time", "component", "y", "x"]},
        "time": {"step": 0.1, "first": 1.0, "unit": "ms"},
        "coordinates": {"x": {"low": 0.0, "high": 4.0, "unit": "mm"}, "y": {"low": 0.0, "high": 1.0}},
        "parameters": {"nu": {"values": {"0": 0.1, "1": 0.2}}},
    }  # fmt: skip
    solutions, raws, _ = read(tmp_path / "vel.npy", plan)
    s = solutions[1]
    assert np.array_equal(s["v"].values, values[1, :, 1]) and np.allclose(s["time"].values, [1.0, 1.1, 1.2])
    assert np.allclose(raws[0].support.extents, [(0, 4), (0, 1)]) and raws[0].support.periodic == (True, False)
    assert s["time"].attrs["units"] == "ms" and s["x"].attrs["units"] == "mm" and raws[1].parameters == {"nu": 0.2}
    plan["fields"] = {"w": {"from": "vel.npy", "component": 1, "scale": 2.0, "offset": 1.0, "unit": "m/s"}}
    (s, _), _, _ = read(tmp_path / "vel.npy", plan)
    assert np.allclose(s["w"].values, 2 * values[0, :, 1] + 1) and s["w"].attrs["units"] == "m/s"


def test_drafts_read_what_needs_no_plan_in_the_same_way(tmp_path):
    np.savez(
        tmp_path / "a.npz", points=POINTS, cells=CELLS, T=RNG.normal(size=(3, 4, 5)), u0=RNG.normal(size=(3, 5)),
        params=RNG.random((3, 2)), param_names=np.array(["nu", "kappa"]), time=np.arange(4.0),
    )  # fmt: skip
    _, plain, _ = read(tmp_path / "a.npz")
    _, told, _ = read(tmp_path / "a.npz", draft(tmp_path / "a.npz"))
    for a, b in zip(plain, told, strict=True):
        assert a.parameters == b.parameters and list(a.parameters) == ["nu", "kappa"]
        assert np.array_equal(a.fields["T"], b.fields["T"]) and np.array_equal(a.inputs["u0"], b.inputs["u0"])
        assert np.array_equal(a.times, b.times) and a.support.same(b.support)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"fields": {"w": {"from": "uu"}}}, r"fields\.w\.from: no array is called 'uu'; did you mean 'u'\?"),
        ({"fields": {"w": {"from": "u", "axes": ["time", "y"]}}}, r"fields\.w\.axes: .* but u has shape \(3, 4, 5\)"),
        ({"coordinates": {"x": {"from": "x"}}, "axes": {"order": ["time", "x", "y"]}, "fields": {"u": {}}},
         "4 along x, where others have 5"),
        ({"axes": {"order": ["t", "y", "x"]}, "fields": {"u": {}}}, "no axis is called 't'"),
        ({"steady": True}, "steady: true, but fields have an axis of time"),
        ({"parameters": {"nu": {"from": "path:nu"}}}, "no number follows 'nu'"),
        ({"options": {"files": "frames"}}, 'expected "cases" or "times"'),
        ({"coordinates": {"x": {"low": 1.0, "high": 0.0}}}, "low < high"),
        ({"problem": "burgers"}, "is a problem of this package"),
    ],
)  # fmt: skip
def test_plans_that_do_not_fit(tmp_path, plan, said):
    np.savez(tmp_path / "a.npz", u=np.zeros((3, 4, 5)), x=np.arange(5.0), y=np.arange(4.0), t=np.arange(3.0))
    with pytest.raises((InputError, FileFormatError), match=said):
        read(tmp_path / "a.npz", plan)


def test_cases_or_times_is_asked(tmp_path):
    np.savez(tmp_path / "a.npz", u=np.zeros((7, 4, 5)), x=np.arange(5.0), y=np.arange(4.0))
    assert "u, 7×4×5, may run along (case, y, x) or (time, y, x)" in needs(tmp_path / "a.npz")
    assert f"sciml import --explain {tmp_path / 'a.npz'}" in needs(tmp_path / "a.npz")
    plan = draft(tmp_path / "a.npz")
    assert len(read(tmp_path / "a.npz", plan)[0]) == 7
    plan["fields"]["u"]["axes"] = ["time", "y", "x"]
    assert read(tmp_path / "a.npz", plan)[0][0].sizes["time"] == 7


def npz(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)


def stored(array, **how):
    raw = io.BytesIO()
    np.save(raw, array, **how)
    return raw.getvalue()


def pickled(path):
    np.save(path / "u.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return path / "u.npy"


def truncated(path):
    (path / "u.npy").write_bytes(stored(np.zeros((3, 4)))[:-8])
    return path / "u.npy"


def two_in_one(path):
    (path / "u.npy").write_bytes(stored(np.zeros((3, 4))) * 2)
    return path / "u.npy"


def cut_npz(path):
    np.savez(path / "u.npz", u=np.zeros((3, 4)), x=np.arange(4.0))
    content = (path / "u.npz").read_bytes()
    (path / "u.npz").write_bytes(content[: len(content) // 2])
    return path / "u.npz"


def bomb(path):
    head = stored(np.zeros(4)).replace(b"(4,), }" + b" " * 20, b"(40000000000,), }" + b" " * 10)
    npz(path / "u.npz", {"u.npy": head})
    return path / "u.npz"


def zeros_without_end(path):
    """A member whose size is written to be 8 GB."""
    npz(path / "u.npz", {"u.npy": stored(np.zeros(4))})
    content = bytearray((path / "u.npz").read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = (0xF0000000).to_bytes(4, "little")
    (path / "u.npz").write_bytes(content)
    return path / "u.npz"


def no_zip(path):
    (path / "u.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12\n")
    return path / "u.npz"


def records(path):
    np.save(path / "u.npy", np.zeros(3, dtype=[("a", "f4"), ("b", "f4")]))
    return path / "u.npy"


def text(path):
    np.save(path / "u.npy", np.array(["a", "b"]))
    return path / "u.npy"


def no_matlab(path):
    (path / "u.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b" " * 300)
    return path / "u.mat"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (pickled, "holds Python objects .a pickle., which are not read"),
        (truncated, r"216 bytes, expected 224 for float64 of shape \(3, 4\); truncated\?"),
        (two_in_one, "more than one array in it"),
        (cut_npz, "damaged, truncated or no .npz file"),
        (bomb, r"shape \(40000000000,\) of float64; damaged"),
        (zeros_without_end, "4026531840 bytes from .* damaged"),
        (no_zip, "damaged, truncated or no .npz file"),
        (records, "an array of records"),
        (text, "text"),
        (no_matlab, "damaged"),
    ],
)
def test_damaged_and_hostile_files_are_named(tmp_path, made, said):
    path = made(tmp_path)
    assert recognised(Source(path)) is not None
    with pytest.raises(FileFormatError, match=said) as caught:
        read(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"u": np.zeros((3, 5)), "x": [0.0, 1, 1, 2, 3], "t": [0.0, 1, 2]},
            "along which|no field|fits no axes|may run",
        ),
        ({"T": np.zeros((2, 5)), "points": np.where(POINTS > 1.5, np.nan, POINTS), "nu": [1.0, 0.0]}, "not finite"),
        ({"T": np.zeros((2, 5)), "points": POINTS, "cells": CELLS + 7, "nu": [2.0, 1.0]}, "names node 11"),
        ({"T": np.zeros((2, 5)), "points": POINTS, "cells": CELLS + 0.5, "nu": [2.0, 1.0]}, "not whole"),
        (
            {"u": np.zeros((3, 5)), "v": np.zeros((2, 5)), "x": np.arange(5.0), "params": np.ones((3, 1))},
            "v, 2×5, may run along",
        ),
    ],
)
def test_arrays_that_do_not_fit_each_other(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match=said):
        read(tmp_path / "a.npz")


def test_cases_of_unlike_files_are_named(tmp_path):
    np.savez(tmp_path / "case_1.npz", u=np.zeros((7, 5)), x=np.arange(5.0))
    np.savez(tmp_path / "case_2.npz", u=np.zeros((7, 6)), x=np.arange(6.0))
    with pytest.raises(FileFormatError, match=r"case_2\.npz: a grid of \(6,\) places, but case_1\.npz has \(5,\)"):
        read(tmp_path)
    for k in range(5):
        for name in "uv" if k != 3 else "u":
            np.save(tmp_path / f"{name}_{k:02d}.npy", np.zeros((4, 4)))
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    with pytest.raises(FileFormatError, match=r"u_03\.npy has no v with the number 3"):
        read(tmp_path, {"axes": {"order": ["y", "x"]}})


def test_nothing_outside_is_read(tmp_path):
    """A link among cases that leads out of the folder."""
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    np.save(secret / "u.npy", np.full((3, 5), 7.0))
    for k in range(2):
        place = tmp_path / "in" / f"case{k}"
        place.mkdir(parents=True)
        np.save(place / "t.npy", np.arange(3.0))
    np.save(tmp_path / "in" / "case0" / "u.npy", np.zeros((3, 5)))
    (tmp_path / "in" / "case1" / "u.npy").symlink_to(secret / "u.npy")
    np.save(tmp_path / "in" / "x.npy", np.arange(5.0))
    with pytest.raises(InputError, match="leads out of the folder"):
        importers.import_data(tmp_path / "in", tmp_path / "o.h5")
    assert not (tmp_path / "o.h5").exists()


def test_the_draft_is_toml_that_is_a_plan():
    plan = Plan.from_json({"fields": {"ü": {"from": 'a"b', "axes": ["x"]}}, "options": {"files": "cases"}})
    assert Plan.from_json(tomllib.loads(toml(plan.to_json()))) == plan
