"""Programs that once crashed, hung, or left a file that could not be read."""

import os
import shutil
import subprocess
import sys

import h5py
import matplotlib
import numpy as np
import pytest
import torch
import xarray as xr

import sciml
from sciml.errors import InputError

from .conftest import burgers, fit, python, tiny

BURGERS = sciml.problems.Burgers()
ENDINGS = ["h5", "zarr"]


@pytest.fixture
def solution():
    return burgers([0, 0.1], [0.1])[0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_time_of_a_solution_is_one_frame(inside, solution, ending):
    last = solution.isel(time=-1)
    sciml.data.write(last, f"last.{ending}")
    found = sciml.data.open(f"last.{ending}")
    assert found.sizes["frame"] == 1 and found.time.values.tolist() == [0.1]
    np.testing.assert_allclose(found.u.values[0], solution.u.values[1])
    assert sciml.data.pack([last, solution]).sizes["frame"] == 3
    sciml.audit(last)


def test_a_forked_child_reads_what_its_parent_read(inside):
    script = """
import os, time, sciml
s = sciml.solvers.PseudoSpectral(16).solve(sciml.problems.Burgers().case(viscosity=.1), [0, .1])
sciml.data.write(s, "g.h5")
sciml.data.open("g.h5").u.values                              # the parent reads once
pid = os.fork()
if pid == 0: sciml.data.open("g.h5").u.values; os._exit(0)    # the child reads the same file
for _ in range(200):
    if os.waitpid(pid, os.WNOHANG)[0]: print("child done"); break
    time.sleep(.1)
else: os.kill(pid, 9); print("child hangs")
"""
    done = python(script)
    assert done.stdout == "child done\n", done.stderr


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_copies_of_xarray_open(inside, solution, engine):
    sciml.data.write(solution, "g.h5")
    sciml.data.open("g.h5").to_netcdf("copy.nc", engine=engine)
    found = sciml.data.open("copy.nc")
    assert found.sizes["frame"] == 2
    np.testing.assert_array_equal(found.u.values, sciml.data.open("g.h5").u.values)
    assert fit("copy.nc").fitted


def nodes():
    """Solutions on loose points and on a mesh."""
    problem = sciml.DataProblem("decay", fields=["T"], parameters=["rate"], dimensions=2)
    points, t = np.random.default_rng(0).random((12, 2)), np.linspace(0, 1, 4)
    for support in (sciml.Points(points), sciml.Mesh(points, {"triangle": np.array([[0, 1, 2], [1, 2, 3]])})):
        fields = {"T": (("time", "node"), np.exp(-t)[:, None] * points.sum(1))}
        yield [sciml.data.solution(problem.case(rate=r), t, fields, support) for r in (1.0, 2.0)]


def test_xarray_opens_zarr_stores(inside, solution):
    stores = [("g.zarr", sciml.data.pack([solution]))]
    stores += [(f"n{i}.zarr", sciml.data.pack(s)) for i, s in enumerate(nodes())]
    for name, packed in stores:
        sciml.data.write(packed, name)
        ours, theirs = sciml.data.open(name), xr.open_zarr(name)
        assert dict(theirs.sizes) == {k: v for k, v in ours.sizes.items() if k in theirs.sizes}
        loaded = xr.open_dataset(name, engine="zarr").load()
        assert str(loaded.case_json.values[0])[:1] == "{"
        field = next(f for f in ("u", "T") if f in ours)
        np.testing.assert_array_equal(loaded[field].values, ours[field].values)


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_floating_point_types_are_read_again(inside, solution, ending):
    for t in ("float16", "longdouble"):
        q = solution[["u"]].astype(t)
        q.attrs = solution.attrs
        name = f"{t}.{ending}"
        sciml.data.write(q, name)
        found = sciml.data.open(name).u.values
        assert found.dtype == ("f4" if t == "float16" else "f8")
        np.testing.assert_array_equal(found, q.u.values.astype(found.dtype))
    c = BURGERS.case(initial_velocity=np.sin(np.linspace(0, 6, 16)).astype("float16"))
    sciml.data.write(sciml.solvers.PseudoSpectral(16).solve(c, [0, 0.1]), f"t.{ending}")
    found = sciml.data.case(sciml.data.open(f"t.{ending}"), 0)[0]
    np.testing.assert_array_equal(found.inputs["initial_velocity"], c.inputs["initial_velocity"])


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("operator", "options"),
    [("fno", {}), ("fno", {"norm": "group"}), ("unet", {"width": 4}), ("deeponet", {"width": 8})],
)
def test_float64_as_torchs_default(inside, float64_by_default, operator, options):
    s = burgers()
    m = fit(s, model=tiny(operator, **options))
    m.save("m")
    case, t = BURGERS.case(viscosity=0.15), [0.1, 0.2]
    expected = m.solve(case, t).u.values
    np.testing.assert_array_equal(sciml.load("m").solve(case, t).u.values, expected)
    torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(sciml.load("m").solve(case, t).u.values, expected)


@pytest.mark.skipif(sys.platform == "darwin", reason="names are Unicode there")
def test_names_that_are_not_utf8(inside, solution):
    n = os.fsdecode(b"caf\xe9.h5")
    sciml.data.write(solution, n)
    assert os.path.exists(n) and sciml.data.open(n).sizes["frame"] == 2
    np.testing.assert_array_equal(sciml.data.open(n).u.values[1], solution.u.values[1])
    fit(n).save(os.fsdecode(b"run\xe9"))
    assert sciml.load(os.fsdecode(b"run\xe9")).fitted


def test_the_current_folder_may_be_gone(tmp_path):
    script = """
import os, tempfile, sciml, sys, torch
sys.path.insert(0, "")
s = [sciml.solvers.PseudoSpectral(16).solve(sciml.problems.Burgers().case(viscosity=v), [0, .1, .2]) for v in (.1, .2)]
home = sys.argv[1]; p = os.path.join(home, "g.h5"); sciml.data.write(sciml.data.pack(s), p)
m = sciml.solvers.Surrogate("fno", width=4, modes=(4,))
run = os.path.join(home, "run")
how = dict(progress=False, memory_limit=0.0)
m.fit(p, sciml.Recipe(length=sciml.Steps(2), batch=2), validation=None, running=sciml.Running(**how))
d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)
print(sciml.data.open(p).sizes["frame"])
sciml.data.write(sciml.data.open(p), os.path.join(home, "c.h5")); print("written")
z = os.path.join(home, "c.zarr"); sciml.data.write(sciml.data.open(p), z); print(sciml.data.open(z).sizes["case"])
m.fit(p, sciml.Recipe(length=sciml.Steps(2), batch=2), validation=None, running=sciml.Running(**how, out=run))
m.save(os.path.join(home, "saved")); print(sciml.load(os.path.join(home, "saved")).fitted, sciml.load(run).fitted)
try: sciml.load("saved")
except sciml.errors.InputError as e: print("refused:", e)
"""
    done = python(script, tmp_path)
    lines = done.stdout.splitlines()
    assert lines[:4] == ["6", "written", "2", "True True"] and lines[4].startswith("refused: "), done.stderr


def test_reports_set_their_own_style(inside):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    sciml.data.write(sciml.data.pack(s, splits=["train", "validation", "test"]), "x.h5")
    fit("x.h5", running=sciml.Running(out="rx", progress=False))
    with matplotlib.rc_context():
        matplotlib.rcParams["text.usetex"] = True  # common in a researcher's matplotlibrc
        sciml.report(["rx"], data="x.h5", out="x.html")
        assert matplotlib.rcParams["text.usetex"] is True
    assert os.path.getsize("x.html") > 10_000


ODD = [True, np.array(["a", "b"], dtype=object), h5py.Empty("f4"), np.zeros((2, 2)), 1j]


@pytest.mark.parametrize("value", ODD, ids=["flag", "texts", "empty", "matrix", "complex"])
@pytest.mark.parametrize("where", ["/", "u", "x"])
def test_attributes_of_odd_types_are_left_out(inside, solution, value, where):
    sciml.data.write(solution, "n.h5")
    with h5py.File("n.h5", "a") as f:
        f[where].attrs["note"] = value
    found = sciml.data.open("n.h5")
    attrs = found.attrs if where == "/" else found[where].attrs
    assert "note" not in attrs or attrs["note"] is not None
    assert sciml.data.validate("n.h5")["cases"] == 1
    fit("n.h5")


@pytest.mark.parametrize("value", [True, ["a", "b"], None, [[1, 2], [3, 4]], {"a": 1}])
@pytest.mark.parametrize("where", [".", "u"])
def test_attributes_of_odd_types_in_zarr(inside, solution, value, where):
    import zarr

    sciml.data.write(solution, "n.zarr")
    zarr.open(f"n.zarr/{where}", mode="a").attrs["note"] = value
    assert sciml.data.validate("n.zarr")["cases"] == 1


@pytest.mark.parametrize("operator", ["fno", "unet", "deeponet"])
def test_compiled_operators_are_saved_and_loaded(inside, operator):
    s = burgers()
    m = fit(s, model=tiny(operator, **({} if operator == "fno" else {"width": 4})))
    case = BURGERS.case(viscosity=0.1)
    expected = m.solve(case, [0.1, 0.2]).u.values
    m.operator = torch.compile(m.operator, backend="eager")
    m.save("c")
    found = sciml.load("c")
    assert found.fitted
    np.testing.assert_array_equal(found.solve(case, [0.1, 0.2]).u.values, expected)
    np.testing.assert_allclose(m.solve(case, [0.1, 0.2]).u.values, expected, rtol=1e-5, atol=1e-6)
    fit(s, 1, m).save("d")
    assert sciml.load("d").fitted
    found.operator.compile(backend="eager")
    found.save("e")
    assert sciml.load("e").fitted


def test_output_that_is_ascii_or_not_utf8_or_closed(inside):
    """What is told at the end of all the work reaches the terminal in some form, and so do its facts."""
    call = [sys.executable, "-m", "sciml.cli"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = "generate cavity --out d.h5 --cases 2 --frames 3 --resolution 8 --subset bc --overwrite"
    done = subprocess.run([*call, *words.split()], capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sciml.data.open("d.h5").sizes["case"] == 2
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([*call, "info", "d.h5"], capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0 and b"data set" in done.stdout, done.stderr
    command = f'"{sys.executable}" -m sciml.cli info d.h5 >&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "internal error" not in done.stderr, done.stderr


def test_shutil_is_not_needed_for_zarr(inside, solution):
    sciml.data.write(solution, "g.zarr")
    shutil.copytree("g.zarr", "h.zarr")
    assert sciml.data.validate("h.zarr")["cases"] == 1
    with pytest.raises(InputError):
        sciml.data.open("missing.zarr")
