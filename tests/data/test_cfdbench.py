"""The published folder layout: in, and out again with the same bytes; every trap named."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from _make import cavities, cavity

from sciml import data
from sciml.data import exporters, importers
from sciml.data.exporters.cfdbench import export_tree
from sciml.data.importers.cfdbench import import_tree
from sciml.errors import FileFormatError, InputError
from sciml.problems import DamFlow, TubeFlow
from sciml.support import Grid

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
FIXTURE, ICOFOAM = FIXTURES / "cfdbench", FIXTURES / "icofoam"


@pytest.fixture
def tree(tmp_path):
    return Path(shutil.copytree(FIXTURE, tmp_path / "tree"))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def make(root, problem, cases):
    """A tree of one problem: cases is a list of (subset/folder, keys, shape)."""
    for name, keys, shape in cases:
        place = root / problem / name
        place.mkdir(parents=True)
        rng = np.random.default_rng(len(name))
        for field in "uv":
            np.save(place / f"{field}.npy", rng.standard_normal(shape).astype("f4"))
        (place / "case.json").write_text(json.dumps(keys))
    return root


def refuse(tree, message, **how):
    out = tree.parent / "out.h5"
    with pytest.raises(InputError, match=message) as caught:
        import_tree(tree, out, **how)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


def test_cases_that_repeat_others_stay_in_one_part_of_the_split(tree, tmp_path):
    """Here every case is one and the same flow: a test on any of them would ask what was trained on."""
    first = next(p for p in sorted(tree.rglob("u.npy")))
    for path in tree.rglob("u.npy"):
        for name in ("u.npy", "v.npy", "case.json"):
            if path != first:
                shutil.copyfile(first.with_name(name), path.with_name(name))
    with pytest.warns(UserWarning, match="repeat others"):
        import_tree(tree, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    names = {}
    for k in range(found.sizes["case"]):
        values = data.case(found, k)[1]["u"].values.tobytes()
        names.setdefault(values, set()).add(int(found["split"][k]))
    assert all(len(parts) == 1 for parts in names.values()) and found.attrs["split_source"] == "made"


def test_a_round_trip_gives_the_same_bytes(tree, tmp_path):
    import_tree(tree, tmp_path / "a.h5")
    assert data.validate(tmp_path / "a.h5")["cases"] == 5
    export_tree(tmp_path / "a.h5", tmp_path / "back")
    assert files(tmp_path / "back") == files(tree)


def test_flows_keep_their_orientation(tmp_path):
    """Flows by icoFoam: the lid is the last row, and moves along x."""
    import_tree(ICOFOAM, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert found.sizes["case"] == 3 and set(found["row_size"].values.tolist()) == {4}
    case, solution = data.case(found, 0)
    assert case.problem.name == "lid_driven_cavity"
    assert solution["u"].values[-1, -1].mean() > 0.5 * case.lid_velocity
    assert abs(solution["u"].values[-1, 0]).max() < 0.1 * case.lid_velocity
    export_tree(tmp_path / "a.h5", tmp_path / "back")
    assert files(tmp_path / "back") == files(ICOFOAM)


def test_cases_are_ordered_by_subset_and_number_and_keep_type_and_unknown_keys(tree, tmp_path):
    import_tree(tree / "cavity", tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert found["row_size"].values.tolist() == [3, 5, 2, 4, 1]
    assert data.schema.flag_names(found["subset"]).tolist() == ["bc", "bc", "geo", "prop", "prop"]
    assert found["lid_velocity"].values.tolist() == [2, 10, 1, 1, 1]
    assert found["u"].dtype == np.float64
    np.testing.assert_array_equal(found["u"].values[3:8], np.load(tree / "cavity/bc/case10/u.npy"))
    assert json.loads(found["source_json"].values[1])["note"] == "unknown key, kept: µ"
    np.testing.assert_allclose(found["time"].values[3:8], 0.1 * np.arange(1, 6))
    case, solution = data.case(found, 2)
    assert (case.width, case.height, case.viscosity) == (0.02, 0.03, 1e-3)
    np.testing.assert_allclose(solution["y"].values, 0.03 * (np.arange(4) + 0.5) / 4)
    assert "mask" not in found.variables
    assert "split" in found.variables


def test_times_may_be_given(tree, tmp_path):
    import_tree(tree, tmp_path / "a.h5", time_step=2.0, first_time=0.0)
    assert data.open(tmp_path / "a.h5")["time"].values[:3].tolist() == [0.0, 2.0, 4.0]
    refuse(tree, "time_step: expected a positive number", time_step=-1.0)
    refuse(tree, "first_time: expected a positive number", first_time=float("nan"))


FLUID = {"density": 100, "viscosity": 0.1}


def test_tube(tmp_path):
    keys = {"vel_in": 1.5, **FLUID, "height": 0.1, "width": 1.0, "dx": 0.015625}
    root = make(tmp_path / "t", "tube", [("bc/case0000", keys, (3, 4, 6)), ("geo/case0001", keys, (7, 4, 6))])
    import_tree(root, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert found.attrs["problem"] == "tube_flow"
    assert found["inlet_velocity"].values.tolist() == [1.5, 1.5]
    assert found["inlet_velocity"].attrs["units"] == "m s-1"
    np.testing.assert_allclose(found["time"].values[:3], [0.01, 0.02, 0.03])
    assert (found["x_max"].values[0], found["y_max"].values[0]) == (1.0, 0.1)
    export_tree(found, tmp_path / "back")
    assert files(tmp_path / "back") == files(root)
    case = data.case(found, 0)[0]
    assert isinstance(case.problem, TubeFlow) and case.inlet_velocity == 1.5
    assert (case.length, case.diameter, case.air_density) == (1.0, 0.1, 1.225)


def test_dam_masks_its_step(tmp_path):
    keys = {
        "case_no": 3, "velocity": 1.0, **FLUID, "barrier_height": 0.1, "barrier_width": 0.05, "height": 0.4,
        "width": 1.5, "dx": 0.0234375, "dy": 0.00625,
    }  # fmt: skip
    root = make(tmp_path / "t", "dam", [("prop/case0000", keys, (2, 64, 64))])
    import_tree(root, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    mask = found["mask"].values[0]
    x, y = 1.5 * (np.arange(64) + 0.5) / 64, 0.4 * (np.arange(64) + 0.5) / 64
    for j in range(64):
        for i in range(64):
            assert mask[j, i] == (not (0.5 <= x[i] <= 0.55 and y[j] <= 0.1))
    assert mask.sum() == 64 * 64 - 2 * 16
    case = data.case(found, 0)[0]
    assert isinstance(case.problem, DamFlow) and (case.barrier_height, case.barrier_width) == (0.1, 0.05)
    assert np.array_equal(case.mask(Grid.uniform(case.geometry, (64, 64))), mask)
    np.testing.assert_allclose(found["time"].values, [0.1, 0.2])


def test_cylinder_masks_the_disc_at_the_origin(tmp_path):
    keys = {
        "vel_in": 1.0, "density": 10, "viscosity": 0.001, "radius": 0.01, "x_min": -0.06, "x_max": 0.16, "y_min": -0.06,
        "y_max": 0.06,
    }  # fmt: skip
    root = make(tmp_path / "t", "cylinder", [("bc/case0000", keys, (2, 64, 64))])
    import_tree(root, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    mask = found["mask"].values[0]
    x, y = -0.06 + 0.22 * (np.arange(64) + 0.5) / 64, -0.06 + 0.12 * (np.arange(64) + 0.5) / 64
    assert all(mask[j, i] == (x[i] ** 2 + y[j] ** 2 > 1e-4) for j in range(64) for i in range(64))
    area = (mask == 0).sum() * (0.22 / 64) * (0.12 / 64)
    assert abs(area / (np.pi * 1e-4) - 1) < 0.15
    np.testing.assert_allclose(found["time"].values, [0.001, 0.002])
    case = data.case(found, 0)[0]
    assert case.problem.name == "cylinder_flow" and case.problem.reynolds(case) == pytest.approx(200)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_array_form_comes_back_as_it_was(tree, tmp_path, dtype, order):
    """Types, byte orders and memory orders may differ within a tree; values and headers survive."""
    place = tree / "cavity" / "bc" / "case2"
    np.save(place / "u.npy", np.asarray(np.random.default_rng(0).standard_normal((3, 4, 4)), dtype=dtype, order=order))
    import_tree(tree, tmp_path / "a.h5")
    export_tree(tmp_path / "a.h5", tmp_path / "back")
    assert files(tmp_path / "back") == files(tree)


# ---- traps ----------------------------------------------------------------------------------------------------------


def case_file(tree, text):
    (tree / "cavity/bc/case2/case.json").write_text(text)


def array(tree, values, name="u"):
    np.save(tree / f"cavity/bc/case2/{name}.npy", values, allow_pickle=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: (t / "cavity/bc/case2/v.npy").unlink(), r"bc/case2/v\.npy: cannot open: No such file"),
        (lambda t: (t / "cavity/bc/case2/case.json").unlink(), r"case2/case\.json: cannot open"),
        (lambda t: case_file(t, "{"), r"case2/case\.json: not JSON"),
        (lambda t: case_file(t, "[1]"), "a list, expected an object"),
        (lambda t: case_file(t, '{"vel_top": 1, "density": 1, "viscosty": 1, "height": 1, "width": 1}'),
         r"key 'viscosity' is missing; did you mean 'viscosty'\?"),
        (lambda t: case_file(t, '{"vel_top": "1", "density": 1, "viscosity": 1, "height": 1, "width": 1}'),
         "'vel_top' is '1', expected a finite number"),
        (lambda t: case_file(t, '{"vel_top": NaN, "density": 1, "viscosity": 1, "height": 1, "width": 1}'),
         "'vel_top' is nan"),
        (lambda t: case_file(t, '{"vel_top": 1, "density": -1, "viscosity": 1, "height": 1, "width": 1}'),
         "case.json: lid_driven_cavity: density is -1"),
        (lambda t: case_file(t, '{"vel_in": 1, "density": 1, "viscosity": 1, "height": 1, "width": 1}'),
         "key 'vel_in' is of problem 'tube', expected 'cavity'"),
        (lambda t: case_file(t, '{"vel_top": 1, "density": 1, "viscosity": 1, "height": 1, "width": 1, "time_step":0}'),
         "'time_step' is 0, expected a positive number"),
        (lambda t: array(t, np.zeros((3, 4))), r"u\.npy: shape \(3, 4\), expected \(time, y, x\)"),
        (lambda t: array(t, np.zeros((0, 4, 4))), r"u\.npy: shape \(0, 4, 4\)"),
        (lambda t: array(t, np.zeros((2, 4, 4))), r"v\.npy: shape \(3, 4, 4\), but u\.npy has \(2, 4, 4\)"),
        (lambda t: [array(t, np.zeros((3, 5, 4)), n) for n in "uv"], r"grid of \(4, 4\) cells, .*case2 has \(5, 4\)"),
        (lambda t: array(t, np.zeros((3, 4, 4), int)), r"u\.npy: type int64, expected float32 or float64"),
        (lambda t: array(t, np.zeros((3, 4, 4), "f2")), r"u\.npy: type float16"),
        (lambda t: array(t, np.full((3, 4, 4), None)), r"u\.npy: type object"),
        (lambda t: array(t, np.where(np.arange(48).reshape(3, 4, 4) == 20, np.nan, 1.0)),
         r"u\.npy: frame 1 holds values that are not finite"),
        (lambda t: (t / "cavity/bc/case2/u.npy").write_bytes(b"not an array"), r"u\.npy: not a \.npy file"),
        (lambda t: os.truncate(t / "cavity/bc/case2/u.npy", 300), r"u\.npy: 300 bytes, expected 512 .*truncated"),
        (lambda t: shutil.rmtree(t / "cavity"), "no cases; expected folders such as"),
        (lambda t: (t / "tube").mkdir(), "holds the problems cavity, tube; choose one"),
    ],
)  # fmt: skip
def test_traps_are_named_and_leave_nothing(tree, spoil, message):
    spoil(tree)
    refuse(tree, message)


def test_nothing_is_ever_unpickled(tree, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    array(tree, np.array([Trap()], dtype=object))
    refuse(tree, r"u\.npy: type object")
    assert not (tmp_path / "executed").exists()


def test_the_problem_is_found_or_asked_for(tree, tmp_path):
    refuse(tree, "did you mean 'cavity'", problem="cavitty")
    refuse(tree, "holds no folder 'tube', only cavity", problem="tube")
    refuse(tree / "missing", "no such folder")
    moved = tree / "cavity"
    moved.rename(tree / "something")
    import_tree(tree / "something", tmp_path / "a.h5")  # by the keys
    assert data.open(tmp_path / "a.h5").attrs["problem"] == "lid_driven_cavity"


# ---- export of other data sets --------------------------------------------------------------------------------------


def test_generated_sets_go_out_and_come_back(tmp_path):
    rng = np.random.default_rng(0)
    made = [cavity(rng, 3 + k, subset="geo", width=0.5 + k, faces=False) for k in range(2)]
    data.write(data.pack(made, fields=["u", "v"]), tmp_path / "a.h5")
    export_tree(tmp_path / "a.h5", tmp_path / "tree")
    import_tree(tmp_path / "tree", tmp_path / "b.h5")
    a, b = (data.open(tmp_path / f"{n}.h5") for n in "ab")
    for name in ("u", "v", "width", "lid_velocity", "row_size", "x_max"):
        np.testing.assert_array_equal(a[name].values, b[name].values)
    np.testing.assert_allclose(a["time"].values, b["time"].values)


def test_what_the_layout_cannot_hold_is_refused(tmp_path):
    data.write(data.pack(cavities(4)), tmp_path / "a.h5")
    with pytest.raises(InputError, match="case 1 has the input 'initial_streamfunction'"):
        export_tree(tmp_path / "a.h5", tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    export_tree(tmp_path / "a.h5", tmp_path / "tree", subset="bc")
    assert sorted(p.name for p in (tmp_path / "tree/cavity/bc").iterdir()) == ["case0000", "case0001"]
    with pytest.raises(InputError, match="exists already"):
        export_tree(tmp_path / "a.h5", tmp_path / "tree", subset="bc")
    with pytest.raises(InputError, match="did you mean 'bc'"):
        export_tree(tmp_path / "a.h5", tmp_path / "tree2", subset="bcc")


def test_a_hostile_layout_text_cannot_leave_the_folder(tree, tmp_path):
    import_tree(tree, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5").load()
    about = json.loads(found["source_layout"].values[0]) | {"folder": "../../escaped"}
    found["source_layout"] = (("case",), np.array([json.dumps(about)] * 5))
    with pytest.raises(FileFormatError, match=r"names the folder '\.\./\.\./escaped'"):
        export_tree(found, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_formats_are_found_by_name():
    assert importers.cfdbench.import_tree is import_tree
    assert exporters.get("cfdbench").export_tree is export_tree
    with pytest.raises(InputError, match="did you mean 'cfdbench'"):
        importers.get("cfd_bench")


CAVITY = {"vel_top": 1.0, "density": 1.0, "viscosity": 0.01, "height": 1.0, "width": 1.0}
DAM = {"velocity": 0.05, "density": 100.0, "viscosity": 0.1, "barrier_height": 0.1, "barrier_width": 0.05,
       "height": 0.4, "width": 1.5}  # fmt: skip


def test_folders_that_are_not_understood_are_named(tmp_path):
    names = ["bc/case0000", "bc/case_0001", "bc/Case0002", "bc/case0003 ", "notes/today"]
    make(tmp_path, "cavity", [(n, CAVITY, (3, 8, 8)) for n in names])
    (tmp_path / "Tube").mkdir()
    with pytest.warns(UserWarning) as caught:
        import_tree(tmp_path, tmp_path / "a.h5")
    text = " ".join(str(w.message) for w in caught)
    for name in ("'bc/case_0001'", "'bc/Case0002'", "'bc/case0003 '", "'notes'", "'Tube'"):
        assert name in text
    assert "case0000)" not in text and data.open(tmp_path / "a.h5").sizes["case"] == 1
    shutil.rmtree(tmp_path / "cavity" / "bc" / "case0000")
    (tmp_path / "Tube").rmdir()
    refuse(tmp_path, r"no cases; expected folders such as bc/case0000.*not understood: 'bc'", problem="cavity")


def test_folders_that_are_understood_give_no_warning(tree, tmp_path, recwarn):
    import_tree(tree, tmp_path / "a.h5")
    assert not [w for w in recwarn if "left out" in str(w.message)]


def test_cases_without_folders_of_subsets_are_of_subset_all(tmp_path, recwarn):
    make(
        tmp_path, "dam", [("case0000", DAM, (3, 8, 8)), ("case0010", DAM, (3, 8, 8)), ("geo/case0002", DAM, (3, 8, 8))]
    )
    import_tree(tmp_path / "dam", tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert data.schema.flag_names(found["subset"]).tolist() == ["all", "all", "geo"]
    assert [json.loads(t)["folder"] for t in found["source_layout"].values] == ["case0000", "case0010", "case0002"]
    assert not [w for w in recwarn if "left out" in str(w.message)]


def test_a_case_without_an_answer_is_left_out_and_the_others_keep_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    made = [cavity(rng, 3 + k, subset="geo", width=0.5 + k, faces=False) for k in range(3)]
    known = data.pack(made, fields=["u", "v"])
    rows = known["row_size"].values.copy()
    shorter = known.isel(frame=slice(int(rows[0]), None))
    shorter["row_size"] = ("case", np.concatenate([[0], rows[1:]]).astype(known["row_size"].dtype))
    with pytest.warns(UserWarning, match=r"case 0 \(.*\) has no frames: left out"):
        target = export_tree(shorter, tmp_path / "out")
    assert sorted(p.name for p in (target / "geo").iterdir()) == ["case0001", "case0002"]


def test_cases_that_hold_the_same_are_in_one_part(tmp_path):
    keys = {"vel_top": 1.0, "density": 1.0, "viscosity": 0.1, "height": 1.0, "width": 1.0}
    names = [f"{subset}/case{k:04d}" for subset in ("bc", "prop") for k in range(4)]
    tree = make(tmp_path / "tree", "cavity", [(n, keys | {"vel_top": 1.0 + i}, (3, 4, 4)) for i, n in enumerate(names)])
    for i, n in enumerate(names):
        np.save(tree / "cavity" / n / "u.npy", np.full((3, 4, 4), i, "f4"))
    names = data.schema.flag_names
    import_tree(tree, tmp_path / "a.h5")
    with data.open(tmp_path / "a.h5") as made:
        before = names(made["split"]).tolist()
    assert before[4] != before[7] or before[4] != before[5]
    other = next(k for k in (5, 6, 7) if before[k] != before[4])
    shutil.rmtree(tree / "cavity" / f"prop/case{other - 4:04d}")
    shutil.copytree(tree / "cavity/prop/case0000", tree / "cavity" / f"prop/case{other - 4:04d}")
    with pytest.warns(UserWarning, match=f"1 case repeats another \\({other} is 4\\)"):
        import_tree(tree, tmp_path / "b.h5")
    with data.open(tmp_path / "b.h5") as made:
        after = names(made["split"]).tolist()
    assert after[other] == after[4] == before[4]
    assert [s for k, s in enumerate(after) if k != other] == [s for k, s in enumerate(before) if k != other]
