"""The audit: what it finds in exact fields, in our solvers' answers, and in wrong ones."""

import json
import math

import numpy as np
import pytest
import xarray as xr

import sciml
from sciml import Grid
from sciml.data import solution
from sciml.errors import InputError
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson, TaylorGreen
from sciml.solvers import FiniteElements, FiniteVolume, IncompressibleFlow, PseudoSpectral

EPSILON = np.finfo(np.float64).eps


def vortices(n, times=(0.0, 0.5), tendencies=True, **values):
    """The exact Taylor-Green fields at cell centres, as a solution."""
    case = TaylorGreen().case(**{"viscosity": 0.05, **values})
    grid = Grid.uniform(case.geometry, n)
    fields = {k: (("time", "y", "x"), v) for k, v in case.exact(times, grid.centres).items()}
    if tendencies:
        rate = -2 * case.viscosity / case.density * (2 * math.pi / case.length) ** 2
        fields |= {f"{k}_tendency": (("time", "y", "x"), rate * fields[k][1]) for k in ("u", "v")}
    return solution(case, times, fields, {"x": grid.centres[0], "y": grid.centres[1]}, solver="exact")


def by_length(audit, name):
    return {round(r.length, 9): r for r in audit.select(name)}


def test_exact_fields_have_no_divergence_and_momentum_defects_of_second_order():
    """At fixed control volumes the defect is the audit's own truncation: ratio 4, with its floor beside it."""
    previous = None
    for n in (32, 64, 128):
        audit = sciml.audit(vortices(n))
        assert all(r.rms < 1e3 * EPSILON for r in audit.select("continuity"))
        found = {name: by_length(audit, name) for name in ("momentum x", "momentum y")}
        for name, rows in found.items():
            for length, row in rows.items():
                if row.rms < 1e-12:  # half the period and the whole of it: exact by symmetry
                    assert length > 3
                    continue
                assert row.floor / 2 < row.rms < 2 * row.floor
                if previous is not None and length in previous[name]:
                    assert 3.9 < previous[name][length].rms / row.rms < 4.1
        previous = found


def test_defects_do_not_depend_on_units():
    """The same flow in other units of length, time and mass: relative defects stay."""
    one = sciml.audit(vortices(32, times=(0.0,), length=2 * math.pi, velocity=1.0, density=1.0, viscosity=0.05))
    two = sciml.audit(vortices(32, times=(0.0,), length=20 * math.pi, velocity=0.1, density=8.0, viscosity=0.4))
    for a, b in zip(one.select("momentum x"), two.select("momentum x"), strict=True):
        if a.relative > 1e-10:
            assert a.relative == pytest.approx(b.relative, rel=1e-9)
            assert a.rms / a.floor == pytest.approx(b.rms / b.floor, rel=1e-9)


def test_rates_from_frames_where_no_tendencies_are_stored():
    close = sciml.audit(vortices(32, times=np.linspace(0, 0.4, 9), tendencies=False))
    assert close.select("momentum x") and not close.notes
    rows = [r for r in close.select("momentum x") if r.rms > 1e-10]
    assert all(r.rms < 2 * r.floor for r in rows)

    far = sciml.audit(vortices(32, times=np.linspace(0, 40, 9), tendencies=False, viscosity=0.5))
    assert not far.select("momentum x") and any("too far apart" in note for note in far.notes)
    few = sciml.audit(vortices(32, times=(0.0, 0.1), tendencies=False))
    assert not few.select("momentum x") and any("five equally spaced" in note for note in few.notes)
    assert few.select("continuity")


@pytest.mark.parametrize("what", ["u", "p", "u_tendency"])
def test_wrong_fields_stand_out_from_the_floor(what):
    wrong = vortices(64)
    x = wrong["x"].values
    wrong[what] = wrong[what] + 0.1 * np.sin(2 * x)
    name = "continuity" if what == "u" else "momentum x"
    assert any(r.rms > 5 * r.floor for r in sciml.audit(wrong).select(name))


def test_staggered_solutions_of_taylor_green():
    """Divergence at rounding, momentum defects of second order at fixed control volumes.

    Momentum is audited with the tendencies of the frame, so that the time step does not enter.
    """
    previous = None
    for n in (32, 64):
        audit = sciml.audit(IncompressibleFlow(n, dtype="float64").solve(TaylorGreen().case(viscosity=0.05), [0.5]))
        assert all(r.rms < 1e3 * EPSILON for r in audit.select("continuity"))
        rows = {k: v for k, v in by_length(audit, "momentum x").items() if v.rms > 1e-12}
        for length in set(rows) & set(previous or {}):
            assert math.log2(previous[length].rms / rows[length].rms) > 1.9
        assert len(rows) >= 3
        previous = rows


def test_staggered_solutions_of_the_cavity():
    """Away from its walls (the lid's corners are singular) the defect falls by the square of the cell size."""
    from sciml.derivatives import numpy as provider

    defects = []
    for n in (64, 128):
        case = LidDrivenCavity().case(viscosity=0.01)
        found = IncompressibleFlow(n, dtype="float64").solve(case, [1.0])
        assert all(r.rms < 1e3 * EPSILON for r in sciml.audit(found).select("continuity"))
        left = provider.finite_volume(
            case.problem.balances()["momentum"],
            Grid.uniform(case.geometry, n),
            {k: found[k].values[0] for k in ("u", "v", "p")},
            parameters=case.parameters,
            rates={k: found[f"{k}_tendency"].values[0] for k in ("u", "v")},
            boundary=case.boundary_conditions,
            face_values={("u", 0): found["u_face"].values[0], ("v", 1): found["v_face"].values[0]},
        )
        volumes = left.reshape(2, 8, n // 8, 8, n // 8).mean(axis=(2, 4))[:, 1:-1, 1:-1]
        defects.append(np.sqrt(np.mean(volumes**2, axis=(1, 2))))
    assert (np.log2(defects[0] / defects[1]) > 1.9).all()


def test_floors_foretell_the_defects_of_exact_steady_fields():
    """Poisson's exact solution sampled at cell centres: up to the walls, on equal and on stretched cells."""
    case = Poisson().case()
    for stretching in (0.0, 1.5):
        for n in (32, 64):
            grid = FiniteVolume(n, stretching=stretching).grid(case)
            p = case.exact(None, grid.centres)["p"]
            made = solution(case, None, {"p": (("y", "x"), p)}, dict(zip("xy", grid.centres, strict=True)))
            rows = sciml.audit(made).select("potential")
            assert len(rows) > 4 and all(r.floor / 2 < r.rms < 2 * r.floor for r in rows), (stretching, n)


@pytest.mark.parametrize(
    ("case", "times"),
    [
        (Poisson().case(wavenumber=2), None),
        (Darcy().case(permeability=np.random.default_rng(0).choice([3.0, 12.0], (32, 32))), None),
        (HeatEquation().case(diffusivity=0.1), [0.2, 1.0]),
        (Burgers().case(viscosity=0.02), [0.1, 0.5]),
    ],
    ids=lambda v: v.problem.name if isinstance(v, sciml.Case) else "",
)
def test_finite_volume_solutions_balance_to_rounding(case, times):
    audit = sciml.audit(FiniteVolume(32).solve(case, times))
    balances = [r for r in audit.rows if r.check == "balance"]
    assert balances and not audit.notes
    assert all(r.relative < 1e-10 for r in balances)
    boundaries = [r for r in audit.rows if r.check == "boundary"]
    assert len(boundaries) == len(_dirichlet(case))
    assert all(r.rms < 5 * r.floor for r in boundaries if r.relative > 1e-12)


def _dirichlet(case):
    return [c for cs in case.boundary_conditions.values() for c in cs.values() if c.given]


def test_spectral_solutions_show_the_audit_s_own_floor():
    audit = sciml.audit(PseudoSpectral(128).solve(Burgers().case(viscosity=0.02), [0.1, 0.3]))
    rows = [r for r in audit.select("momentum") if r.check == "balance" and r.size]
    assert all(r.floor / 2.5 < r.rms < 2.5 * r.floor for r in rows)
    (invariant,) = (r for r in audit.select("momentum") if r.check == "invariant")
    assert invariant.rms < 1e-12


def test_invariants_and_boundaries_that_are_broken():
    case = Burgers().case(viscosity=0.02)
    found = FiniteVolume(32).solve(case, [0.0, 0.1])
    found["u"][1] += 0.01
    (row,) = (r for r in sciml.audit(found).rows if r.check == "invariant")
    assert row.largest == pytest.approx(0.01, rel=1e-9) and row.rms > 100 * row.floor

    made = FiniteVolume(32).solve(Poisson().case())
    made["p"] = made["p"] + 0.3
    rows = [r for r in sciml.audit(made).rows if r.check == "boundary"]
    assert len(rows) == 4 and all(r.rms == pytest.approx(0.3, rel=0.01) and r.rms > 50 * r.floor for r in rows)


def test_audit_after_a_file_is_the_same(tmp_path):
    found = IncompressibleFlow(16, dtype="float64").solve(LidDrivenCavity().case(viscosity=0.05), [0.5, 1.0])
    found.to_netcdf(tmp_path / "cavity.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "cavity.nc", engine="h5netcdf", decode_times=False) as again:
        assert sciml.audit(again).to_dict() == sciml.audit(found).to_dict()
    packed = sciml.data.pack([found, found], dtype=None)
    _, second = sciml.data.case(packed, 1)
    for a, b in zip(sciml.audit(second).rows, sciml.audit(found).rows, strict=True):
        assert (a.check, a.name, a.size) == (b.check, b.name, b.size)
        assert a.rms == pytest.approx(b.rms, rel=1e-6, abs=1e-12)


def test_float32_solutions_are_measured_against_float32_rounding():
    found = IncompressibleFlow(32, dtype="float32").solve(TaylorGreen().case(viscosity=0.05), [0.3])
    rows = sciml.audit(found).select("continuity")
    assert all(r.rms < 5 * r.floor for r in rows) and rows[0].rms > 1e-9


def test_frames_are_chosen_evenly():
    found = vortices(16, times=np.linspace(0, 1, 50))
    assert sciml.audit(found).frames == 20
    assert sciml.audit(found, frames=3).frames == 3
    assert sciml.audit(found, frames=None).frames == 50
    assert sciml.audit(found.isel(time=[0])).frames == 1


def test_solutions_that_lack_a_field_are_audited_as_far_as_they_go():
    audit = sciml.audit(vortices(16).drop_vars("p"))
    assert audit.select("continuity") and not audit.select("momentum x")
    assert any(note == "momentum: not computed, the solution does not hold p" for note in audit.notes)


def test_audits_print_and_convert():
    audit = sciml.audit(vortices(16))
    text = str(audit)
    assert text.splitlines()[0].startswith("audit of taylor_green") and "2 frame(s)" in text
    assert all(len(line.split()) >= 7 for line in text.splitlines()[2:])
    content = json.loads(json.dumps(audit.to_dict()))
    assert content["problem"] == "taylor_green" and len(content["rows"]) == len(audit.rows)
    assert "continuity" in audit._repr_html_()


def test_what_cannot_be_audited_is_named():
    found = vortices(16)
    with pytest.raises(InputError, match="data set of many cases"):
        sciml.audit(sciml.data.pack([found]))
    with pytest.raises(InputError, match="'problem' is missing"):
        sciml.audit(xr.Dataset({"u": (("y", "x"), np.zeros((4, 4)))}))
    with pytest.raises(InputError, match="expected a grid over"):
        sciml.audit(found.isel(x=0))
    with pytest.raises(InputError, match="fields of this solution live on nodes, expected a grid over"):
        sciml.audit(FiniteElements(4).solve(Poisson().case()))


def rows(audit):
    return [(r.check, r.name, r.size, r.rms, r.floor) for r in audit.rows]


def test_order_of_axes_and_of_coordinates_does_not_matter():
    for found in (vortices(16), IncompressibleFlow(resolution=16).solve(LidDrivenCavity().case(), [0.1, 0.2])):
        expected = rows(sciml.audit(found))
        turned = {d: slice(None, None, -1) for d in ("x", "y", "x_face", "y_face") if d in found.dims}
        shuffled = found.isel(x=np.random.default_rng(0).permutation(16))
        for other in (found.isel(turned), found.transpose("x", "y", ..., "time"), shuffled):
            for a, b in zip(rows(sciml.audit(other)), expected, strict=True):
                assert a[:3] == b[:3] and a[3] == pytest.approx(b[3], rel=1e-9, abs=1e-12)
    with pytest.raises(InputError, match="x: expected finite coordinates, each once"):
        sciml.audit(vortices(8).assign_coords(x=np.zeros(8)))
    with pytest.raises(InputError, match="faces along x: expected strictly increasing"):
        Grid((np.array([1.0, 0.5, 0.0]),), (False,))


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_cells_of_a_periodic_axis_are_equal_wherever_the_points_lie(shift):
    n, case = 64, Burgers().case(viscosity=0.05)
    x, t = (np.arange(n) + shift) / n, np.linspace(0, 0.5, 6)
    u = np.roll(case.exact(t, (x,))["u"], 5, axis=1) + 1.0
    grid = Grid.from_centres((x,), case.geometry)
    assert np.allclose(grid.widths[0], 1 / n, atol=1e-14) and np.allclose(grid.centres[0], x, atol=1e-14)
    audit = sciml.audit(solution(case, t, {"u": (("time", "x"), u)}, {"x": x}))
    for row in audit.rows:
        if row.check == "invariant":
            assert row.largest <= 1e-14


def poisoned(found, mask, value):
    """The solution with a mask, and with a value in all solid cells."""
    found = found.copy(deep=True)
    found["mask"] = (("y", "x"), mask.astype(np.uint8))
    for name in [n for n in found.data_vars if n != "mask" and {"y", "x"} <= set(found[n].dims)]:
        found[name] = found[name].where(mask != 0, value)
    return found


def test_solid_cells_are_never_read():
    """An exact field with a hole in it: nothing but its truncation, whatever the solid cells hold."""
    n = 32
    whole = sciml.audit(vortices(n))
    mask = np.ones((n, n))
    mask[10:14, 17:21] = 0
    audits = [sciml.audit(poisoned(vortices(n), mask, value)) for value in (0.0, 1e6, np.nan)]
    assert rows(audits[0]) == rows(audits[1]) == rows(audits[2])
    audit = audits[0]
    assert any("16 of 1024 cells are solid" in note for note in audit.notes)
    assert {r.size for r in audit.select("momentum x")} == {1, 2, 4, 8, 16}  # all of the domain touches it
    for name in ("continuity", "momentum x"):
        row, full = audit.select(name, 1)[0], whole.select(name, 1)[0]
        assert row.rms == pytest.approx(full.rms, rel=0.1, abs=1e-12)
        assert row.largest <= full.largest * (1 + 1e-12)
    everywhere = sciml.audit(poisoned(vortices(n), np.arange(n * n).reshape(n, n) % 2, 0.0))
    assert not everywhere.select("continuity")
    assert any("every control volume touches a solid cell" in note for note in everywhere.notes)


def test_invariants_of_a_masked_solution_are_integrals_over_the_fluid():
    n, case = 64, Burgers().case(viscosity=0.05)
    x, t = (np.arange(n) + 0.5) / n, np.linspace(0, 0.5, 6)
    u = np.ones((6, n))
    u[:, :8] = np.linspace(0, 100, 6)[:, None]  # what grows is in the solid
    mask = np.ones(n)
    mask[:8] = 0
    audit = sciml.audit(solution(case, t, {"u": (("time", "x"), u)}, {"x": x}, mask=mask))
    assert all(r.largest <= 1e-14 for r in audit.rows if r.check == "invariant")


def test_a_body_in_the_domain(monkeypatch):
    """A hole in the geometry is solid without a mask, and its boundary is looked at beside it."""
    whole = LidDrivenCavity.geometry
    monkeypatch.setattr(LidDrivenCavity, "geometry", lambda self, case: whole(self, case) - sciml.Disc((0.5, 0.5), 0.1))
    conditions = LidDrivenCavity.boundary_conditions

    def with_body(self, case):
        return conditions(self, case) | {"obstacle": {"u": sciml.Dirichlet(0.0)}}

    monkeypatch.setattr(LidDrivenCavity, "boundary_conditions", with_body)
    case = LidDrivenCavity().case()
    c = (np.arange(16) + 0.5) / 16
    fields = {k: (("time", "y", "x"), np.zeros((1, 16, 16))) for k in ("u", "v", "p")}
    audit = sciml.audit(solution(case, [1.0], fields, {"x": c, "y": c}))
    assert audit.select("u on obstacle")[0].rms == 0
    assert any("cut by a boundary" in note for note in audit.notes)
    assert any("cells are solid" in note for note in audit.notes)
    assert {r.size for r in audit.select("continuity")} == {1, 2, 4}
    assert audit.select("u on y_max")[0].rms == pytest.approx(1.0)
