"""PDEBench's five layouts, written as they are published, and files that are wrong in known ways."""

import h5py
import numpy as np
import pytest
from _imported import layout_of, read

from sciml import data
from sciml.data import importers
from sciml.errors import FileFormatError, InputError


def centres(n, low=0.0, high=1.0):
    return (low + (np.arange(n) + 0.5) * (high - low) / n).astype("f4")


def scalar(path, n=3, frames=5, width=16, attrs=None, seed=0):
    values = np.random.default_rng(seed).standard_normal((n, frames, width)).astype("f4")
    with h5py.File(path, "w") as file:
        file["tensor"] = values
        file["x-coordinate"] = centres(width)
        file["t-coordinate"] = np.linspace(0, 2, frames + 1).astype("f4")
        file.attrs.update(attrs or {})
    return values


def compressible(path, shape=(6, 4), n=2, frames=3):
    made, rng = {}, np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name in ("density", "pressure", "Vx", "Vy", "Vz")[: 2 + len(shape)]:
            made[name] = file[name] = rng.standard_normal((n, frames, *shape)).astype("f4")
        for axis, count in zip("xyz", shape, strict=False):
            file[f"{axis}-coordinate"] = centres(count)
        file["t-coordinate"] = np.linspace(0, 1, frames + 1).astype("f4")
        file.attrs.update(eta=0.01, zeta=0.01, M=0.1)
    return made


def grouped(path, frames=4, shape=(6, 5), channels=2, count=3, config="sim:\n  D: {d}\n  k: 0.005\n  seed: {s}\n"):
    made = []
    with h5py.File(path, "w") as file:
        for k in range(count):
            values = np.random.default_rng(k).standard_normal((frames, *shape, channels)).astype("f4")
            group = file.create_group(f"{k:04d}")
            group.create_dataset("data", data=values, compression="gzip")
            for axis, n in zip("xy", shape, strict=False):
                group[f"grid/{axis}"] = centres(n, -1, 1)
            group["grid/t"] = np.linspace(0, 5, frames).astype("f4")
            if config:
                group.attrs["config"] = config.format(d=1e-3 * (k + 1), s=k)
            made.append(values)
    return made


def incompressible(path, n=2, frames=3, shape=(6, 4)):
    rng, made = np.random.default_rng(0), {}
    how = {"compression": "lzf", "shuffle": True}
    with h5py.File(path, "w") as file:
        for name, full in (
            ("velocity", (n, frames, *shape, 2)), ("particles", (n, frames, *shape, 1)), ("force", (n, *shape, 2)),
        ):  # fmt: skip
            made[name] = rng.standard_normal(full).astype("f4")
            chunks = (1, 1, *full[2:]) if name != "force" else (1, *full[1:])
            file.create_dataset(name, data=made[name], chunks=chunks, **how)
        file["t"] = np.tile(0.5 * np.arange(frames, dtype="f4"), (n, 1))
    return made


def test_scalar_files_with_parameters_of_attributes_and_names(tmp_path):
    first = scalar(tmp_path / "1D_Advection_Sols_beta0.1.hdf5", attrs={"beta": 0.1})
    second = scalar(tmp_path / "1D_Advection_Sols_beta0.4.hdf5", seed=1)
    solutions, raws, notes = read(tmp_path)
    assert [s.attrs["problem"] for s in solutions] == ["pdebench_advection"] * 6
    assert [float(r.parameters["beta"]) for r in raws] == [0.1] * 3 + [0.4] * 3
    np.testing.assert_array_equal(solutions[1]["u"].values, first[1])
    np.testing.assert_array_equal(solutions[5]["u"].values, second[2])
    np.testing.assert_allclose(solutions[0]["time"], [0, 0.4, 0.8, 1.2, 1.6], rtol=1e-6)
    np.testing.assert_allclose(solutions[0]["x"], (np.arange(16) + 0.5) / 16, rtol=1e-6)
    np.testing.assert_allclose(np.diff(solutions[0]["x"]), 1 / 16, rtol=1e-12)  # evened, not float32
    assert raws[0].support.periodic == (True,) and raws[0].support.uniform_cells
    assert any("one time more than frames" in n for n in notes)
    assert any("beta is taken from file names" in n for n in notes)


@pytest.mark.parametrize(
    ("attrs", "name", "problem", "parameters"),
    [
        ({"Nu": 0.01}, "1D_Burgers_Sols_Nu0.01.hdf5", "burgers", {"nu": 0.01}),
        ({}, "ReacDiff_Nu0.5_Rho1.0.hdf5", "reaction_diffusion", {"nu": 0.5, "rho": 1.0}),
        ({"beta": np.bytes_(b"0.7")}, "a.h5", "advection", {"beta": 0.7}),
        ({"Nu": np.array([0.02]), "rho": b"2"}, "b.h5", "reaction_diffusion", {"nu": 0.02, "rho": 2.0}),
        ({}, "unknown.h5", "scalar", {}),
    ],
)
def test_parameters_in_any_form(tmp_path, attrs, name, problem, parameters):
    scalar(tmp_path / name, attrs=attrs)
    solutions, raws, notes = read(tmp_path / name)
    assert solutions[0].attrs["problem"] == f"pdebench_{problem}"
    assert raws[0].parameters == pytest.approx(parameters)
    assert any("periodic is not told" in n for n in notes) == (problem == "scalar")


@pytest.mark.parametrize("shape", [(8,), (6, 4), (5, 4, 3)])
def test_compressible_flow_has_axes_turned(tmp_path, shape):
    made = compressible(tmp_path / f"{len(shape)}D_CFD_Rand_Eta1.e-2_Zeta1.e-2_periodic_Train.hdf5", shape)
    solutions, raws, _ = read(tmp_path)
    space = "zyx"[-len(shape) :]
    for name, values in made.items():
        found = solutions[1][name]
        assert found.dims == ("time", *space) and found.shape[1:] == shape[::-1]
        index = tuple(range(len(shape)))
        assert found.values[(2, *index[::-1])] == values[(1, 2, *index)]
        np.testing.assert_array_equal(found.transpose("time", *space[::-1]).values, values[1])
    assert raws[0].parameters == pytest.approx({"eta": 0.01, "zeta": 0.01, "M": 0.1})
    assert raws[0].support.periodic == (True,) * len(shape)
    assert len(solutions[0].attrs["problem"]) and "u" not in solutions[0]


def test_darcy_flow_is_steady_with_an_input(tmp_path):
    rng = np.random.default_rng(0)
    nu, u = rng.random((3, 6, 4)).astype("f4"), rng.random((3, 1, 6, 4)).astype("f4")
    with h5py.File(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5", "w") as file:
        file["nu"], file["tensor"], file.attrs["beta"] = nu, u, 1.0
        file["x-coordinate"], file["y-coordinate"] = centres(6), centres(4)
        file["t-coordinate"] = np.zeros(1)
    solutions, _, _ = read(tmp_path)
    assert "time" not in solutions[0].dims
    np.testing.assert_array_equal(solutions[2]["u"].values, u[2, 0].T)
    np.testing.assert_array_equal(solutions[2]["input_nu"].values, nu[2].T)


def test_groups_with_a_configuration_each(tmp_path):
    made = grouped(tmp_path / "2D_diff-react_NA_NA.h5")
    solutions, raws, notes = read(tmp_path)
    np.testing.assert_array_equal(solutions[2]["inhibitor"].values, made[2][..., 1].transpose(0, 2, 1))
    assert [r.parameters["D"] for r in raws] == pytest.approx([1e-3, 2e-3, 3e-3])
    assert any("sim.k = 0.005" in n for n in notes) and not any("seed" in n for n in notes)
    np.testing.assert_allclose(solutions[0]["time"], np.linspace(0, 5, 4), rtol=1e-6)


def test_groups_of_other_equations(tmp_path):
    one = grouped(tmp_path / "1D_diff-sorp_NA_NA.h5", shape=(8,), channels=1, config="")
    two = grouped(tmp_path / "2D_rdb_NA_NA.h5", channels=1)
    three = grouped(tmp_path / "other.h5", channels=3)
    found = read(tmp_path / "1D_diff-sorp_NA_NA.h5")[0]
    np.testing.assert_array_equal(found[0]["concentration"].values, one[0][..., 0])
    found = read(tmp_path / "2D_rdb_NA_NA.h5")[0]
    np.testing.assert_array_equal(found[1]["depth"].values, two[1][..., 0].transpose(0, 2, 1))
    found, _, notes = read(tmp_path / "other.h5")
    np.testing.assert_array_equal(found[1]["u_2"].values, three[1][..., 2].transpose(0, 2, 1))
    assert any("channels of 'data' have no names" in n for n in notes)


def test_incompressible_flow_in_lzf_and_shuffle(tmp_path):
    made = incompressible(tmp_path / "ns_incom_inhom_2d_512-0.h5")
    incompressible(tmp_path / "ns_incom_inhom_2d_512-1.h5")
    for k, path in enumerate(sorted(tmp_path.iterdir())):
        with h5py.File(path, "r+") as file:
            file.attrs.update(
                config=f"seed: {k}\nNU: {0.01 * (k + 1)}\nDT: 5.e-5\ngrid_size:\n- 6\n- 4\n", latestIndex=2
            )
    solutions, raws, notes = read(tmp_path, {"options": {"every": 2}})
    np.testing.assert_array_equal(
        solutions[1]["velocity_y"].values, made["velocity"][1, ::2, ..., 1].transpose(0, 2, 1)
    )
    np.testing.assert_array_equal(
        solutions[1]["particles"].values, made["particles"][1, ::2, ..., 0].transpose(0, 2, 1)
    )
    np.testing.assert_array_equal(raws[1].inputs["force_x"], made["force"][1, ..., 0].T)
    np.testing.assert_allclose(solutions[0]["time"], [0, 1.0])
    assert sum("no positions along" in n for n in notes) == 2
    assert raws[0].parameters == pytest.approx({"NU": 0.01}) and any(
        "settings that all cases share" in n for n in notes
    )
    told = {"coordinates": {"x": {"low": 0.0, "high": 3.0}, "y": {"low": 0.0, "high": 2.0}}}
    assert read(tmp_path, told)[1][0].support.extents == ((0.0, 3.0), (0.0, 2.0))


def test_training_and_test_files_are_a_split(tmp_path):
    for part in ("Train", "Test"):
        scalar(tmp_path / f"1D_Burgers_Nu0.1_{part}.hdf5", n=2)
    assert [r.split for r in read(tmp_path)[1]] == ["test"] * 2 + ["train"] * 2


def test_through_the_process_of_its_own(tmp_path):
    made = compressible(tmp_path / "2D_CFD_M0.1_periodic.hdf5")
    compressible(tmp_path / "2D_CFD_M1.0_periodic.hdf5", n=3)
    with h5py.File(tmp_path / "2D_CFD_M1.0_periodic.hdf5", "r+") as file:
        file.attrs["M"] = 1.0
    found = importers.import_data(tmp_path, tmp_path.parent / "all.h5", overwrite=True)
    assert (found.layout, found.cases) == ("pdebench", 5)
    case, solution = data.case(data.open(found.path), 1)
    np.testing.assert_array_equal(solution["Vy"].values, made["Vy"][1].transpose(0, 2, 1))
    assert case.problem.velocity == ("Vx", "Vy") and case.problem.box == (True, True)
    dataset = data.open(found.path)
    assert dataset["M"].values.tolist() == pytest.approx([0.1, 0.1, 1, 1, 1])


# -- what is wrong ----------------------------------------------------------------------------------------------------


def spoiled(path, change):
    scalar(path, attrs={"beta": 0.1})
    with h5py.File(path, "r+") as file:
        change(file)


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("t-coordinate", np.arange(9.0)), r"'t-coordinate' has shape \(9,\), but fields have 5 frames; give"),
        (replaced("x-coordinate", np.arange(9.0)), r"'x-coordinate' has shape \(9,\), but fields have 16 values"),
        (replaced("x-coordinate", np.r_[0:15, np.nan]), r"'x-coordinate' is not finite at index 15"),
        (replaced("x-coordinate", np.r_[0:15, 3.0]), r"'x-coordinate' does not increase at index 15"),
        (replaced("x-coordinate", np.arange(16.0)[::-1]), r"'x-coordinate': decreases"),
        (replaced("tensor", np.zeros((3, 16))), r"'tensor': has shape \(3, 16\), expected \(case, time, x\)"),
        (lambda f: f.pop("t-coordinate"), r"variable 't-coordinate' is missing; there are tensor, x-coordinate"),
    ],
)
def test_coordinates_that_do_not_fit(tmp_path, change, message):
    spoiled(tmp_path / "a.hdf5", change)
    with pytest.raises(FileFormatError, match=f"a.hdf5: variable {message}" if message[0] == "'" else message):
        read(tmp_path / "a.hdf5")


def test_a_missing_coordinate_is_assumed_and_said(tmp_path):
    spoiled(tmp_path / "a.hdf5", lambda f: f.pop("x-coordinate"))
    _, raws, notes = read(tmp_path)
    assert raws[0].support.extents == ((0.0, 1.0),)
    assert any("no positions along x: taken as cells of 0 to 1" in n for n in notes)
    assert read(tmp_path, {"time": {"step": 0.5, "first": 1.0}})[0][0]["time"].values.tolist() == [1, 1.5, 2, 2.5, 3]


def test_axes_that_are_swapped(tmp_path):
    compressible(tmp_path / "a.hdf5", (6, 4))
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file.move("x-coordinate", "w")
        file.move("y-coordinate", "x-coordinate")
        file.move("w", "y-coordinate")
    with pytest.raises(FileFormatError, match=r"axes are swapped; PDEBench's run case, time, x, y, z"):
        read(tmp_path)


def test_values_that_are_not_finite(tmp_path):
    values = np.ones((3, 5, 16), "f4")
    values[1, 3:] = np.nan
    spoiled(tmp_path / "a.hdf5", replaced("tensor", values))
    solutions, _, notes = read(tmp_path)
    assert [s.sizes["time"] for s in solutions] == [5, 3, 5]
    assert any("frames at the end that hold no finite value: left out: a: 1" in n for n in notes)
    values[1, 3:] = 1
    values[2, 2, 5] = np.inf
    spoiled(tmp_path / "a.hdf5", replaced("tensor", values))
    with pytest.raises(FileFormatError, match=r"a: 2: u is not finite at index \(2, 5\)"):
        read(tmp_path)


def test_files_that_do_not_go_together(tmp_path):
    scalar(tmp_path / "a_beta0.1.hdf5")
    scalar(tmp_path / "b_beta0.2.hdf5", width=8)
    with pytest.raises(FileFormatError, match=r"b_beta0.2.hdf5: the grid \(8,\), but a_beta0.1.hdf5 has \(16,\)"):
        read(tmp_path)
    scalar(tmp_path / "b_beta0.2.hdf5", attrs={"Nu": 1.0})
    (tmp_path / "b_beta0.2.hdf5").rename(tmp_path / "b_Nu1.hdf5")
    with pytest.raises(FileFormatError, match=r"b_Nu1.hdf5: equation burgers, but a_beta0.1.hdf5 has advection"):
        read(tmp_path)
    compressible(tmp_path / "b_Nu1.hdf5")
    with pytest.raises(FileFormatError, match=r"b_Nu1.hdf5: layout compressible, but a_beta0.1.hdf5 has scalar"):
        read(tmp_path)
    with h5py.File(tmp_path / "b_Nu1.hdf5", "w") as file:
        file["something"] = np.zeros(3)
    with pytest.raises(FileFormatError, match=r"b_Nu1.hdf5: none of PDEBench's layouts: it holds something"):
        read(tmp_path, layout="pdebench")


def test_what_is_not_understood_is_named(tmp_path):
    def change(file):
        file["mystery"] = np.zeros(3)
        file.attrs["made_by"] = b"somebody"

    spoiled(tmp_path / "a.hdf5", change)
    (tmp_path / "README.md").write_text("hello")
    notes = read(tmp_path)[2]
    assert any("left out: mystery" in n for n in notes) and any("not understood: made_by" in n for n in notes)
    assert any("1 other files: README.md" in n for n in notes)
    with pytest.raises(InputError, match=r"order: pdebench takes none"):
        read(tmp_path, {"axes": {"order": ["case"]}})


def test_a_file_that_is_cut_off(tmp_path):
    scalar(tmp_path / "a_beta0.1.hdf5")
    scalar(tmp_path / "b_beta0.2.hdf5")
    whole = (tmp_path / "b_beta0.2.hdf5").read_bytes()
    (tmp_path / "b_beta0.2.hdf5").write_bytes(whole[: len(whole) // 2])
    assert layout_of(tmp_path) == "pdebench"
    with pytest.raises(FileFormatError, match=r"b_beta0.2.hdf5: cut off: truncated file"):
        read(tmp_path)
