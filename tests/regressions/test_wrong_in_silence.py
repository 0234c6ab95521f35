"""Programs that once gave a wrong answer without a word."""

import json
import os
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import sciml
from sciml.boundary import Series
from sciml.data.importers.cfdbench import import_tree
from sciml.errors import FileFormatError, InputError
from sciml.operators import FNO

from .conftest import QUIET, burgers, fit, one_line, tiny

BURGERS = sciml.problems.Burgers()
X8, X16 = (np.arange(8) + 0.5) / 8, (np.arange(16) + 0.5) / 16


# -- times with a unit of their own -----------------------------------------------------------------------------------


def test_durations_are_seconds_and_dates_are_refused():
    seconds = np.array([0, 1, 2], "m8[s]").astype("m8[ns]")  # what xarray gives for "seconds"
    made = sciml.data.solution(BURGERS.case(), seconds, {"u": (("time", "x"), np.zeros((3, 8)))}, {"x": X8})
    assert made.time.values.tolist() == [0, 1, 2] and made.time.units == "s"
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[ns]")
    with pytest.raises(InputError, match="times: got dates"):
        sciml.data.solution(BURGERS.case(), dates, {"u": (("time", "x"), np.zeros((3, 8)))}, {"x": X8})


def test_durations_are_seconds_wherever_times_enter(tmp_path):
    seconds, ms = np.array([0.0, 0.1, 0.2]), np.array([0, 100, 200], "m8[ms]").astype("m8[ns]")
    case = BURGERS.case(viscosity=0.1)
    solver = sciml.solvers.PseudoSpectral(16)
    plain, timed = solver.solve(case, seconds), solver.solve(case, ms)
    np.testing.assert_allclose(timed.time.values, seconds)
    np.testing.assert_allclose(timed.u.values, plain.u.values, rtol=1e-6)
    assert Series(ms, [1.0, 2.0, 3.0]).times.tolist() == seconds.tolist()
    many = solver.solve_many([case, case], ms, progress=False)
    np.testing.assert_allclose(many.time.values, np.tile(seconds, 2))
    many = solver.solve_many([case, case], [ms, ms], progress=False)
    np.testing.assert_allclose(many.time.values, np.tile(seconds, 2))
    path = tmp_path / "g.h5"
    model = fit(burgers())
    np.testing.assert_allclose(model.solve(case, ms).u.values, model.solve(case, seconds).u.values)
    frame = plain.isel(time=[0])
    expected = model.resume(case, frame, seconds[1:])
    np.testing.assert_allclose(model.resume(case, frame, ms[1:]).u.values, expected.u.values)
    later = plain.isel(time=[1])
    expected = model.resume(case, later, seconds[2:])
    as_xarray = later.assign_coords(time=ms[1:2])
    np.testing.assert_allclose(model.resume(case, as_xarray, ms[2:]).u.values, expected.u.values)
    np.testing.assert_allclose(model.resume(case, as_xarray.isel(time=0), ms[2:]).u.values, expected.u.values)
    sciml.data.write(plain.assign_coords(time=ms), path)
    np.testing.assert_allclose(sciml.data.open(path).time.values, seconds)
    trained = fit([s.assign_coords(time=ms) for s in burgers()])
    np.testing.assert_allclose(trained.solve(case, seconds).u.values, model.solve(case, seconds).u.values)
    dates = np.array(["2020-01-01", "2020-01-02"], "M8[ns]")
    uses = (
        lambda: solver.solve(case, dates),
        lambda: model.resume(case, plain.isel(time=[0, 1]).assign_coords(time=dates), [0.2]),
        lambda: sciml.data.write(plain.isel(time=[0, 1]).assign_coords(time=dates), path),
        lambda: sciml.audit(plain.isel(time=[0, 1]).assign_coords(time=dates)),
    )
    for use in uses:
        with pytest.raises(InputError, match="got dates"):
            use()


def test_durations_are_seconds_in_baselines_and_evaluation():
    ms = np.array([0, 100, 200], "m8[ms]").astype("m8[ns]")
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    as_xarray = [q.assign_coords(time=ms) for q in s]
    splits = ["train", "train", "test"]
    m = fit(sciml.data.pack(s, splits=splits))
    found = [sciml.evaluate([m], sciml.data.pack(q, splits=splits), steps=2).errors for q in (s, as_xarray)]
    np.testing.assert_allclose(found[1]["error_square"].values, found[0]["error_square"].values)
    baseline = sciml.solvers.Persistence()
    baseline.fit(sciml.data.pack(s, splits=splits))
    again = baseline.resume(BURGERS.case(viscosity=0.1), as_xarray[0].isel(time=[1]), ms[2:])
    np.testing.assert_allclose(again.time.values, [0.2])


# -- masked arrays ----------------------------------------------------------------------------------------------------


def test_masked_values_are_refused():
    u = np.ma.masked_array(np.zeros((2, 8)), mask=False)
    u[1, 3] = np.ma.masked
    u.data[1, 3] = 9.96921e36
    with pytest.raises(InputError, match="fields: 'u': 1 of 16 values are masked"):
        sciml.data.solution(BURGERS.case(), [0.0, 1.0], {"u": (("time", "x"), u)}, {"x": X8})
    k = np.ma.masked_array(np.ones((4, 4)), mask=np.eye(4))
    k.data[0, 0] = 1e20
    with pytest.raises(InputError, match="permeability"):
        sciml.problems.Darcy().case(permeability=k)
    with pytest.raises(InputError, match="target: 1 of 3 values are masked"):
        sciml.metrics.mae(np.array([1.0, 2.0, 3.0]), np.ma.masked_array([1.0, 2.0, -9999.0], mask=[0, 0, 1]))


def hidden(values):
    """An array whose last value is masked."""
    found = np.ma.masked_array(np.array(values, dtype=float), mask=False)
    found[(-1,) * found.ndim] = np.ma.masked
    return found


MASKED = {
    "times of solve": lambda: sciml.solvers.PseudoSpectral(16).solve(BURGERS.case(), hidden([0.0, 0.1])),
    "points of solve": lambda: sciml.solvers.PseudoSpectral(16).solve(BURGERS.case(), [0.0], points=hidden([[0.2]])),
    "a parameter": lambda: BURGERS.case(viscosity=hidden(0.1)),
    "times of a series": lambda: Series(hidden([0.0, 1.0]), [1.0, 2.0]),
    "values of a series": lambda: Series([0.0, 1.0], hidden([1.0, 2.0])),
    "points": lambda: sciml.Points(hidden([[0.0, 1.0], [1.0, 0.0]])),
    "volumes of points": lambda: sciml.Points(np.eye(2), hidden([1.0, 1.0])),
    "nodes of a mesh": lambda: sciml.Mesh(hidden([[0.0, 0], [1, 0], [0, 1]]), {"triangle": np.array([[0, 1, 2]])}),
    "cells of a mesh": lambda: sciml.Mesh(
        np.array([[0.0, 0], [1, 0], [0, 1]]), {"triangle": hidden([[0, 1, 2]]).astype(int)}
    ),
    "faces": lambda: sciml.Grid((hidden([0.0, 0.5, 1.0]),)),
    "the mask of a grid": lambda: sciml.Grid((np.linspace(0, 1, 4),), mask=hidden([1.0, 1.0, 1.0])),
    "the mask of a solution": lambda: sciml.data.solution(
        BURGERS.case(), [0.0], {"u": (("time", "x"), np.zeros((1, 8)))}, {"x": X8}, mask=hidden(np.ones(8))
    ),
    "weights of a metric": lambda: sciml.metrics.rmse(np.ones(3), np.zeros(3), weights=hidden(np.ones(3))),
    "a spectrum": lambda: sciml.metrics.energy_spectrum([hidden(np.ones((8, 8))), np.ones((8, 8))], (1.0, 1.0)),
    "velocities": lambda: sciml.metrics.divergence([hidden(np.ones((4, 4))), np.ones((4, 4))], [X8[:4], X8[:4]]),
    "velocities on faces": lambda: sciml.metrics.divergence_faces([hidden(np.ones(5))], [np.linspace(0, 1, 5)]),
    "faces of velocities": lambda: sciml.metrics.divergence_faces([np.ones(5)], [hidden(np.linspace(0, 1, 5))]),
    "centres of velocities": lambda: sciml.metrics.divergence([np.ones(4)], [hidden(X8[:4])]),
    "values to sample": lambda: sciml.Grid((np.linspace(0, 1, 4),)).sample(hidden(np.ones(3)), np.array([[0.9]])),
    "points to sample at": lambda: sciml.Grid((np.linspace(0, 1, 4),)).sample(np.ones(3), hidden([[0.9]])),
}


@pytest.mark.parametrize("where", MASKED)
def test_masked_values_are_refused_wherever_an_array_enters(where):
    with pytest.raises(InputError, match="masked"):
        MASKED[where]()


# -- what other tools write -------------------------------------------------------------------------------------------


def test_fill_values_of_other_tools_are_missing_values(inside):
    solver = sciml.solvers.PseudoSpectral(32)
    found = [solver.solve(BURGERS.case(viscosity=v), [0, 0.1, 0.2]) for v in (0.1, 0.2)]
    sciml.data.write(sciml.data.pack(found), "a.h5")
    d = xr.open_dataset("a.h5").load()
    d["u"] = d.u.where(abs(d.u) < 0.9)
    d.u.encoding = {"_FillValue": -999.0}
    d.to_netcdf("b.nc")
    assert float(sciml.data.open("b.nc").u.min()) == float(xr.open_dataset("b.nc").u.min()) > -1
    with pytest.raises(InputError, match="not finite"):
        fit("b.nc")


# -- the grid of the data ---------------------------------------------------------------------------------------------


def test_answers_on_a_stretched_grid_are_as_good_as_on_a_uniform_one():
    problem = sciml.problems.HeatEquation()
    cases = [problem.case(diffusivity=d) for d in np.geomspace(0.02, 0.2, 8)]
    t, errors = np.linspace(0, 1, 11), []
    for b in (0.0, 2.0):
        solver = sciml.solvers.FiniteVolume(32, stretching=b)
        d = solver.solve_many(cases, t, progress=False)
        m = sciml.solvers.Surrogate("fno", width=16, modes=(8,))
        m.fit(d, sciml.Recipe(length=sciml.Epochs(30)), validation=None, running=QUIET)
        p = m.solve(cases[3], t)
        np.testing.assert_allclose(p.x.values, solver.solve(cases[3], t).x.values)
        e = cases[3].exact(t, (p.x.values,))["T"]
        errors.append(float(np.linalg.norm(p["T"] - e) / np.linalg.norm(e)))
    assert errors[0] < 0.1 and errors[1] < 1.5 * errors[0], errors


def test_half_of_a_domain_is_refused_where_it_enters(inside):
    cases = [BURGERS.case(viscosity=v) for v in np.linspace(0.03, 0.1, 8)]
    t = np.linspace(0, 0.5, 6)
    s = [sciml.solvers.PseudoSpectral(64).solve(c, t).isel(x=slice(0, 32)) for c in cases]  # half of [0, 1]
    uses = (
        lambda: sciml.data.pack(s),
        lambda: sciml.data.write(s[0], "half.h5"),
        lambda: fit(s),
        lambda: sciml.data.solution(cases[0], t, {"u": (("time", "x"), s[0].u.values)}, {"x": s[0].x.values}),
        lambda: sciml.audit(s[0]),
        lambda: fit(burgers(), model=tiny()).resume(cases[0], s[0], [0.5, 0.6]),
    )
    for use in uses:
        with pytest.raises(InputError, match=r"x.*domain|cut along x") as caught:
            use()
        assert one_line(caught.value)
    assert not os.path.exists("half.h5")


# -- derivatives of operators -----------------------------------------------------------------------------------------


def test_a_penalty_on_derivatives_changes_the_gradient():
    def grad(weight):
        torch.manual_seed(0)
        m = FNO(1, 1, width=8, modes=(4,))
        x = torch.linspace(-1, 1, 32)[None, None].requires_grad_()
        u = m(x)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        (u.square().mean() + weight * du.square().mean()).backward()
        return torch.cat([p.grad.flatten() for p in m.parameters()])

    values, slopes, both = grad(0.0), grad(100.0) - grad(0.0), grad(200.0)
    assert slopes.norm() > 1e-3 * values.norm()
    torch.testing.assert_close(values + 2 * slopes, both, rtol=1e-4, atol=1e-4 * float(both.abs().max()))


# -- labels and order of axes -----------------------------------------------------------------------------------------


def test_metrics_go_by_names_and_coordinates():
    a = xr.DataArray(np.arange(16.0).reshape(4, 4), dims=("y", "x"), coords={"x": np.arange(4), "y": np.arange(4)})
    assert sciml.metrics.rmse(a.transpose("x", "y"), a) == 0
    with pytest.raises(InputError, match="coordinates along y"):
        sciml.metrics.rmse(a.isel(y=slice(None, None, -1)), a)


LABELLED = ("mae", "max_error", "mse", "nmse", "nmse_per_frame", "relative_l2", "rmse", "vrmse", "correlation")


@pytest.mark.parametrize("name", LABELLED)
def test_all_metrics_go_by_names_and_coordinates(name):
    rng = np.random.default_rng(0)
    coords = {"time": np.arange(3), "x": np.arange(4), "y": np.arange(4)}
    a, b = (xr.DataArray(rng.random((3, 4, 4)), coords, ("time", "y", "x")) for _ in range(2))
    metric = getattr(sciml.metrics, name)
    np.testing.assert_allclose(metric(a.transpose("x", "y", "time"), b), metric(a.values, b.values))
    for other in (a.isel(y=slice(None, None, -1)), a.assign_coords(x=np.arange(4) + 1), a.rename(x="z")):
        with pytest.raises(InputError):
            metric(other, b)


def test_frames_to_go_on_from_go_by_names():
    problem = sciml.problems.TaylorGreen()
    case = problem.case()
    t = np.array([0.0, 0.1, 0.2])
    x = case.geometry.extents[0][0] + (np.arange(8) + 0.5) / 8 * np.ptp(case.geometry.extents[0])
    exact = case.exact(t, (x, x))
    fields = {k: (("time", "y", "x"), np.asarray(exact[k])) for k in ("u", "v")}
    s = sciml.data.solution(case, t, fields, {"x": x, "y": x})
    model = fit([s], model=tiny(modes=(2, 2)))
    expected = model.resume(case, s.isel(time=[0]), t[1:])
    found = model.resume(case, s.isel(time=[0]).transpose("x", "time", "y"), t[1:])
    np.testing.assert_array_equal(found.u.values, expected.u.values)


def test_an_audit_does_not_depend_on_the_order_of_coordinates():
    s = sciml.solvers.PseudoSpectral(64).solve(BURGERS.case(viscosity=0.05), [0, 0.1, 0.2])
    a = lambda q: [r.rms for r in sciml.audit(q).rows]  # noqa: E731
    np.testing.assert_allclose(a(s.isel(x=slice(None, None, -1))), a(s), rtol=1e-9, atol=1e-15)
    cavity = sciml.solvers.IncompressibleFlow(16).solve(sciml.problems.LidDrivenCavity().case(), [0.5, 1.0])
    backwards = slice(None, None, -1)
    turned = {d: backwards for d in ("y", "x", "y_face", "x_face") if d in cavity.dims}
    for along in ({"y": backwards}, {k: v for k, v in turned.items() if k.startswith("y")}, turned):
        assert str(sciml.audit(cavity.isel(along))) == str(sciml.audit(cavity))


def test_descending_coordinates_are_refused_or_sorted_where_data_enter(inside):
    s = burgers()
    turned = [q.isel(x=slice(None, None, -1)) for q in s]
    for use in (lambda: sciml.data.write(turned[0], "t.h5"), lambda: sciml.data.pack(turned), lambda: fit(turned)):
        with pytest.raises(InputError, match="x"):
            use()
    with pytest.raises(InputError, match="x"):
        fit(s).resume(BURGERS.case(viscosity=0.1), turned[0].isel(time=[0]), [0.1])


# -- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e.h5", "e.zarr"])
def test_units_and_names_of_added_variables_are_kept(inside, name):
    (s,) = burgers([0, 0.1], [0.1])
    s["energy"] = s.u**2 / 2
    s["energy"].attrs = {"units": "m2 s-2", "long_name": "kinetic energy"}
    sciml.data.write(s, name)
    found = sciml.data.open(name)
    for variable in (found.energy, sciml.data.case(found, 0)[1].energy):
        assert variable.attrs["units"] == "m2 s-2" and variable.attrs["long_name"] == "kinetic energy"


def test_training_goes_on_from_loaded_weights(inside):
    s = burgers()
    fit(s, 50).save("m")
    m = sciml.load("m")
    before = {k: v.clone() for k, v in m.operator.state_dict().items()}
    change = lambda: max(float((m.operator.state_dict()[k] - v).abs().max()) for k, v in before.items())  # noqa: E731
    recipe = sciml.Recipe(length=sciml.Steps(1), optimiser=sciml.training.AdamW(lr=1e-9))
    m.fit(s, recipe, validation=None, running=QUIET)
    assert change() < 1e-7
    m.fit(s, recipe, validation=None, running=QUIET, fresh=True)
    assert change() > 1e-3


# -- what is left out -------------------------------------------------------------------------------------------------


def test_folders_that_an_import_leaves_out_are_named(inside):
    for n in ("case0000", "case_0001", "Case0002", "case0003 "):
        p = f"cavity/bc/{n}"
        os.makedirs(p)
        for f in "uv":
            np.save(f"{p}/{f}.npy", np.ones((3, 8, 8)))
        with open(f"{p}/case.json", "w") as file:
            json.dump({"vel_top": 1.0, "density": 1.0, "viscosity": 0.01, "height": 1.0, "width": 1.0}, file)
    with pytest.warns(UserWarning, match="case_0001") as told:
        assert sciml.data.open(import_tree("cavity", "c.h5")).sizes["case"] == 1
    text = " ".join(str(w.message) for w in told)
    assert "Case0002" in text and "case0003 " in text
    p = "dam/case0000"
    os.makedirs(p)
    for f in "uv":
        np.save(f"{p}/{f}.npy", np.ones((3, 8, 8)))
    with open(f"{p}/case.json", "w") as file:
        words = ("velocity", "density", "viscosity", "barrier_height", "barrier_width", "height", "width")
        json.dump(dict(zip(words, (0.05, 100.0, 0.1, 0.1, 0.05, 0.4, 1.5), strict=True)), file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sciml.data.open(import_tree("dam", "d.h5")).sizes["case"] == 1


# -- times that training never saw ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "stepping"),
    [
        ("fno", None),
        ("fno", sciml.training.Window(2, 2)),
        ("fno", sciml.training.Query()),
        ("deeponet", sciml.training.Query(start=False)),
    ],
)
def test_times_before_the_data_begin_are_told(operator, stepping):
    t = np.linspace(5, 5.5, 6)
    d = [
        sciml.data.solution(
            BURGERS.case(viscosity=v), t, {"u": (("time", "x"), np.outer(np.exp(-t), np.sin(2 * np.pi * X16)))},
            {"x": X16},
        )
        for v in (0.05, 0.1, 0.2)
    ]  # fmt: skip
    options = {"width": 8} if operator == "deeponet" else {}
    m = fit(d, 3, tiny(operator, stepping, **options))
    case = BURGERS.case(viscosity=0.1)
    with pytest.warns(UserWarning, match="training cases begin at 5 s"):
        m.solve(case, [0.1, 0.2])
    with pytest.warns(UserWarning, match="training cases begin at 5 s"):
        m.solve_many([case], [0.1, 0.2], progress=False)
    if stepping is None:
        early = d[1].isel(time=[0]).assign_coords(time=[0.0])
        with pytest.warns(UserWarning, match="training cases begin at 5 s"):
            m.resume(case, early, [0.1, 0.2])


# -- equal cells on periodic axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_sums_over_a_period_are_kept_wherever_its_points_begin(mean):
    n = 64
    x = np.arange(n) / n  # points i/N of a period
    c, t = BURGERS.case(viscosity=0.05), np.linspace(0, 0.5, 6)
    v = c.exact(t, (x,))["u"] + mean
    s = sciml.data.solution(c, t, {"u": (("time", "x"), np.roll(v, 5, axis=1))}, {"x": x})
    (row,) = [r for r in sciml.audit(s).rows if r.check == "invariant"]
    assert row.relative < 1e-12


def test_cells_of_periodic_axes():
    n = 16
    problem = sciml.problems.TaylorGreen()
    case = problem.case()
    (ax, bx), (ay, by) = case.geometry.extents
    x, y = ax + np.arange(n) / n * (bx - ax), ay + np.arange(n) / n * (by - ay)
    grid = sciml.Grid.from_centres((x, y), case.geometry)
    np.testing.assert_allclose(grid.weights(), (bx - ax) * (by - ay) / n**2, rtol=1e-9)
    np.testing.assert_allclose(grid.centres[0], x, atol=1e-12)
    # stretched: the cells tile one period, and points that are shifted along it have cells of the same widths
    faces = np.linspace(0, 1, n + 1) + 0.3 * np.sin(2 * np.pi * np.linspace(0, 1, n + 1)) / (2 * np.pi)
    centres = (faces[1:] + faces[:-1]) / 2
    domain = sciml.geometry.Box((0.0,), (1.0,), (True,))
    here = sciml.Grid.from_centres((centres,), domain)
    np.testing.assert_allclose(here.widths[0], np.diff(faces), rtol=1e-6)
    for cells in (n, n - 1):
        s = np.linspace(0, 1, cells + 1)
        faces = s + 0.3 * np.sin(2 * np.pi * s) / (2 * np.pi)
        centres = (faces[1:] + faces[:-1]) / 2
        for shift in (0.0, 0.3 * centres[0], -0.999 * centres[0]):
            moved = sciml.Grid.from_centres((centres + shift,), domain)
            np.testing.assert_allclose(moved.centres[0], centres + shift, rtol=0, atol=1e-12)
            np.testing.assert_allclose(moved.widths[0], np.diff(faces), atol=0.02 / n, err_msg=f"{shift}")


PLACES = {
    "cells": (np.arange(16) + 0.5) / 16,
    "from end to end": np.linspace(0, 1, 17),
    "stretched from end to end": np.linspace(0, 1, 17) ** 1.2,
    "stretched cells": (lambda f: (f[1:] + f[:-1]) / 2)(np.linspace(0, 1, 17) ** 1.3),
    "i/N of a period": np.arange(16) / 16,
    "a shifted period": (np.arange(16) + 0.3) / 16,
}


@pytest.mark.parametrize("where", PLACES)
def test_answers_lie_where_the_data_do(inside, where):
    x, t = PLACES[where], np.linspace(0, 0.2, 3)
    problem = BURGERS if "period" in where else sciml.problems.HeatEquation()
    name, parameter = ("u", "viscosity") if problem is BURGERS else ("T", "diffusivity")
    cases = [problem.case(**{parameter: v}) for v in (0.1, 0.2)]
    s = [sciml.data.solution(c, t, {name: (("time", "x"), c.exact(t, (x,))[name])}, {"x": x}) for c in cases]
    sciml.data.write(sciml.data.pack(s), "a.h5")
    m = fit("a.h5", model=tiny(modes=(4,)))
    m.save("m")
    for model in (m, sciml.load("m")):
        p = model.solve(cases[0], t)
        np.testing.assert_allclose(p.x.values, x, atol=1e-12)
        np.testing.assert_allclose(p[name].values[0], s[0][name].values[0], atol=1e-6)
        np.testing.assert_allclose(model.resume(cases[0], s[0].isel(time=[0]), t[1:]).x.values, x, atol=1e-12)
        np.testing.assert_allclose(model.solve_many(cases, t, progress=False)[name].shape[-1], len(x))
    mirrored = sciml.data.support(sciml.data.open("a.h5"), 1)
    np.testing.assert_allclose(mirrored.centres[0], x, atol=1e-12)
    assert np.isfinite([r.rms for r in sciml.audit(s[0]).rows]).all()


def test_wrong_files_are_refused_after_all(inside):
    """Half of a domain that another tool stored."""
    (s,) = burgers([0, 0.1], [0.1])
    sciml.data.write(s, "a.h5")
    d = xr.open_dataset("a.h5", decode_times=False).load()
    if "x" in d.dims:
        d.isel(x=slice(0, 8)).to_netcdf("half.nc")
        with pytest.raises(FileFormatError):
            sciml.data.validate("half.nc")
