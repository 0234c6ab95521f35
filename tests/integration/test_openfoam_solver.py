"""`OpenFOAM` with one fluid: against our solver and exact solutions, restarts, and data made by it.

Bounds are about 1.3 times what was measured, which the comments say.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import sciml
from sciml.boundary import Series
from sciml.errors import SolverError
from sciml.problems import CylinderFlow, LidDrivenCavity, TaylorGreen
from sciml.solvers import IncompressibleFlow, OpenFOAM, _foam_run
from sciml.solvers._numerical import Begin

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(_foam_run.environment() is None, reason="OpenFOAM (icoFoam) is not installed"),
]


def apart(a, b, *names):
    """Relative L2 difference of some fields together, at every time, where there is fluid."""
    inside = np.ones(a.u.shape[1:]) if "mask" not in b else b.mask.values
    difference = sum(((a[n].values - b[n].values.astype(float)) ** 2 * inside).sum((1, 2)) for n in names)
    return np.sqrt(difference / sum((b[n].values.astype(float) ** 2 * inside).sum((1, 2)) for n in names))


def test_the_cavity_starts_as_ours():
    """Re 100 on 64²: the layer under the lid is thin at first."""
    case, times = LidDrivenCavity().case(viscosity=0.01, density=2.0, lid_velocity=0.5), [1.0, 2.0, 4.0]
    found, ours = OpenFOAM(64).solve(case, times), IncompressibleFlow(64).solve(case, times)
    assert found.attrs["status"] == "ok" and found.attrs["solver"] == "openfoam"
    assert json.loads(found.attrs["settings"])["openfoam"] == _foam_run.version() != ""
    assert apart(found, ours, "u", "v").max() < 0.026  # 2.0, 1.8, 1.6 %
    assert apart(found, ours, "p").max() < 0.057  # 4.3, 4.4, 4.3 %


def test_a_lid_that_changes_in_time():
    case = LidDrivenCavity().case(viscosity=0.02, lid_motion=Series([0.1, 0.5, 1.0], [0.0, 1.0, -1.0]))
    times = [0.3, 0.6, 1.7]  # at no equal distances: a run for each
    found, ours = OpenFOAM(32).solve(case, times), IncompressibleFlow(32).solve(case, times)
    assert apart(found, ours, "u", "v").max() < 0.08  # 6.2, 3.6, 3.4 %


def test_the_wake_of_a_cylinder():
    """Re 40, 8 cells across. Drag is held against ours on four times as many, 192 × 352 cells, too."""
    case, times = CylinderFlow().case(viscosity=5e-3), [0.02, 0.04]
    found, ours = OpenFOAM((48, 88)).solve(case, times), IncompressibleFlow((48, 88)).solve(case, times)
    assert apart(found, ours, "u", "v").max() < 0.015  # 1.1, 1.1 %
    assert apart(found, ours, "p").max() < 0.039  # 2.9, 3.0 %
    np.testing.assert_allclose(found.force_x, ours.force_x, rtol=0.031)  # 2.3, 1.8 %
    np.testing.assert_allclose(found.force_x, [0.26501, 0.26309], rtol=0.006)  # 0.5, 0.4 %
    assert (np.abs(found.force_y) < 1e-4 * found.force_x).all()
    assert (found.u.values[:, found.mask.values == 0] == 0).all()


def test_a_profile_that_changes_in_time():
    """Values along the inlet and in time, from a file for each knot: what comes in goes through every column."""
    motion = Series([0.0, 0.02, 0.05], [0.2, 1.0, 0.5])
    case, times = CylinderFlow("parabolic").case(viscosity=5e-3, inlet_motion=motion), np.array([0.01, 0.03])
    found = OpenFOAM((24, 44)).solve(case, times)
    through = found.u.values[:, :, [0, 1, 25, 43]].mean(1)  # means over the height, mean velocity at the inlet 1
    np.testing.assert_allclose(through, np.repeat(motion(times)[:, None], 4, axis=1), rtol=3e-3)  # 0.2 %
    first, y = found.u.values[:, :, 0] / motion(times)[:, None], (found.y.values + 0.06) / 0.12
    assert np.abs(first - 6 * y * (1 - y)).max() < 0.014  # 0.010, beside the walls


def test_vortices_of_taylor_and_green():
    """Second order in both sides of cells and length of steps, velocity and pressure."""
    case, times, errors = TaylorGreen().case(viscosity=0.01, density=3.0), [0.5, 1.0], []
    for n in (16, 32, 64):
        found = OpenFOAM(n).solve(case, times)
        exact = case.problem.exact(case, times, (found.x.values, found.y.values))
        exact = xr.Dataset({name: (("time", "y", "x"), values) for name, values in exact.items()})
        errors.append([apart(found, exact, "u", "v").max(), apart(found, exact, "p").max()])
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.75).all()  # 1.8 and 2.3, 1.9 and 2.7
    assert max(errors[-1]) < 0.005  # 0.38 % of both


def test_it_goes_on_from_a_frame(tmp_path):
    """Of our grid's velocities; the same from a frame of our solver."""
    case, times = LidDrivenCavity().case(viscosity=0.01), [0.5, 1.0, 1.5]
    solver = OpenFOAM(32, keep=tmp_path / "kept")
    found = solver.solve(case, times)
    again = solver.resume(case, found.isel(time=[0]), times[1:])
    assert apart(again, found.isel(time=[1, 2]), "u", "v").max() < 3e-5  # 2.1e-5: the first step is one of Euler's
    ours = IncompressibleFlow(32).solve(case, [0.5])
    after = solver.resume(case, ours, times)
    assert apart(after.isel(time=[1, 2]), found.isel(time=[1, 2]), "u", "v").max() < 0.0055  # 0.4, 0.2 %
    kept = sorted(p.name for p in (tmp_path / "kept").iterdir())
    assert kept == [f"lid_driven_cavity{n}" for n in ("", "-2", "-3")]
    assert (tmp_path / "kept" / "lid_driven_cavity" / "log.icoFoam").exists()


def test_frames_do_not_depend_on_windows():
    """Frames one by one, each from the files of the last, are those of one run."""
    case = LidDrivenCavity().case(viscosity=0.01)
    solver = OpenFOAM(16, time_step=0.01)
    (one,) = solver.run([case], [np.array([0.1, 0.2])])
    (first,) = solver.run([case], [np.array([0.1])])
    (then,) = solver.run([case], [np.array([0.2])], [Begin({"restart": first["restart"][-1]}, 0.1)])
    np.testing.assert_allclose(then["u"][0], one["u"][1], atol=1e-9)


def test_what_fails_says_so(tmp_path):
    case = LidDrivenCavity().case(label="quick", lid_velocity=1.0)
    with pytest.raises(SolverError, match=r"openfoam: case 'quick': reached max_substeps = 5") as told:
        OpenFOAM(16, max_substeps=5).solve(case, [1e-3, 1.0])
    assert "\n" not in str(told.value)
    both = OpenFOAM(16, max_substeps=5).solve_many([case], [1e-3, 1.0])
    assert int(both.row_size[0]) == 1  # what was before it
    with pytest.raises(SolverError, match=r"openfoam: case 'quick': icoFoam: .*nowhere"):
        OpenFOAM(16, convection="nowhere").solve(case, [0.1])


def test_data_are_made_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "sciml.cli", "generate", "cavity", "--solver", "openfoam", "--cases", "2",
               "--frames", "3", "--resolution", "16", "--out", str(tmp_path / "cavity.h5")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with sciml.data.open(tmp_path / "cavity.h5") as data:
        assert data.sizes["case"] == 2 and (data["status"].values == 0).all()
        assert {"u", "v", "p"} <= set(data.data_vars)
