"""Generation of cavity data sets: parameters, spread, determinism, resuming, refusals."""

import json

import numpy as np
import pytest

import sciml.data
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity, TubeFlow
from sciml.problems.designs import Request
from sciml.problems.designs import lid_driven_cavity as _cavity_cases
from sciml.solvers import IncompressibleFlow, TwoPhaseFlow, _flow_batches, _numerical, generate
from sciml.solvers._coarse import coarsened
from sciml.solvers.generation import prepare, published_flows
from sciml.support import Apertures, Grid

pytestmark = pytest.mark.compiled_quickly


def cavity_cases(*request):
    return _cavity_cases.CavityDesign().cases(Request(*request))


def reynolds(case):
    return case.density * abs(case.lid_velocity) * case.width / case.viscosity


def test_published_axes():
    made = cavity_cases(("bc", "prop", "geo"), None, "published", (64, 64), 20, 0)
    assert [sum(c.subset == s for c in made) for s in ("bc", "prop", "geo")] == [50, 84, 25]
    numbers = [reynolds(c) for c in made]
    assert min(numbers) == pytest.approx(1.0) and max(numbers) == pytest.approx(1e5)
    assert {c.lid_velocity for c in made if c.subset == "bc"} == set(range(1, 51))
    assert {(c.width, c.height) for c in made if c.subset == "geo"} == {
        (i / 100, j / 100) for i in range(1, 6) for j in range(1, 6)
    }


@pytest.mark.parametrize("cells", [32, 64, 128])
def test_resolved_profile_keeps_axes_and_caps_reynolds_numbers(cells):
    made = cavity_cases(_cavity_cases.SUBSETS, None, "resolved", (cells, cells), 20, 0)
    limit = 1000 * (cells / 64) ** 2
    for subset in ("bc", "prop", "geo"):
        numbers = [reynolds(c) for c in made if c.subset == subset]
        assert max(numbers) == pytest.approx(limit)
    assert {c.lid_velocity for c in made if c.subset == "bc"} == set(range(1, 51))
    assert len({c.density for c in made if c.subset == "prop"}) == 12
    assert len({c.viscosity for c in made if c.subset == "prop"}) == 7
    assert max(reynolds(c) for c in made) <= limit * (1 + 1e-9)


@pytest.mark.parametrize("count", [1, 4, 7, 40, 120, 300])
def test_counts_are_met_and_spread(count):
    made = cavity_cases(_cavity_cases.SUBSETS, count, "resolved", (64, 64), 4, 0)
    assert len(made) == count and len({c.label for c in made}) == count
    if count >= 4:
        assert {c.subset for c in made} == set(_cavity_cases.SUBSETS)
    if count == 40:
        prop = [c for c in made if c.subset == "prop"]
        assert min(c.density for c in prop) == 0.1 and max(c.density for c in prop) == 10
        assert np.ptp(np.log10([c.viscosity for c in prop])) == pytest.approx(1.0)


def test_random_starts_respect_walls_and_limits():
    for number in range(5):
        case = _cavity_cases.random_case(number, 3, 1000.0, (32, 32), 10, "")
        psi = np.asarray(case.initial_streamfunction)
        edges = np.concatenate([psi[0], psi[-1], psi[:, 0], psi[:, -1]])
        assert np.abs(edges).max() < 1e-9 * np.abs(psi).max()
        assert np.abs(psi[1]).max() < 0.3 * np.abs(psi[2]).max()  # falls off with the square of the distance
        speed = np.hypot(*np.gradient(psi, case.width / 32)).max()
        assert 0.29 * 10 < speed < 1.21 * 10 and 49 < reynolds(case) < 1001
        assert isinstance(case.lid_motion, Series) and np.ptp(case.lid_motion.values) > 0.05
    again = _cavity_cases.random_case(2, 3, 1000.0, (32, 32), 10, "")
    assert again == _cavity_cases.random_case(2, 3, 1000.0, (32, 32), 10, "")
    assert again != _cavity_cases.random_case(2, 4, 1000.0, (32, 32), 10, "")


def test_equal_calls_give_equal_bytes_also_after_an_interruption(tmp_path, monkeypatch):
    arguments = {"cases": 6, "frames": 3, "resolution": 16, "seed": 5, "progress": False}
    first = generate("cavity", tmp_path / "one.h5", **arguments)
    assert first.computed == 6 and sum(first.cases.values()) == 6 and not first.failed and not first.under_resolved

    solve, calls = IncompressibleFlow._together, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return solve(*args)

    monkeypatch.setattr(IncompressibleFlow, "_together", interrupted)
    monkeypatch.setattr(_flow_batches, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        generate("cavity", tmp_path / "two.h5", **arguments)
    assert not (tmp_path / "two.h5").exists() and (tmp_path / "two.h5.shards").is_dir()
    monkeypatch.setattr(IncompressibleFlow, "_together", solve)
    with pytest.raises(InputError, match="other settings"):
        generate("cavity", tmp_path / "two.h5", **(arguments | {"seed": 6}))
    second = generate("cavity", tmp_path / "two.h5", **arguments)
    assert 0 < second.computed < 6
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert not (tmp_path / "two.h5.shards").exists()

    with sciml.data.open(tmp_path / "one.h5") as data:
        sciml.data.validate(data)
        assert data.sizes["case"] == 6 and data.row_size.values.tolist() == [3] * 6
        case, solution = sciml.data.case(data, 5)
        assert case.subset == "ic" and solution.u.shape == (3, 16, 16) and solution.time.values[0] == 0
        assert solution.time.values[1] == pytest.approx(0.25 * case.width / case.lid_velocity)
        assert np.abs(solution.u.values[0]).max() > 1.0
        assert data.attrs["profile"] == "resolved"


def test_published_profile_says_what_is_under_resolved(tmp_path):
    made = generate(
        "lid_driven_cavity", tmp_path / "p.h5", cases=2, subset="geo", frames=1, resolution=8, profile="published",
        progress=False,
    )  # fmt: skip
    assert set(made.under_resolved.values()) == {1e4 / 8, 5e4 / 8}
    assert "under-resolved: 2 cases" in str(made)
    with sciml.data.open(tmp_path / "p.h5") as data:
        assert np.allclose(data.time.values, 0.1) and "geo" in str(data.attrs["under_resolved"])
        assert np.isfinite(data.u.values).all()


def test_fronts_thinner_than_two_cells_are_said_to_be_under_resolved():
    design = sciml.problems.Burgers.design()
    made = design.cases(Request(design.subsets, 40, "standard", (64,), 2, seed=0))
    thin = {c.label for c in made if 4 * c.viscosity < 2 / 64}  # U = 1 on a period of 1
    assert 0 < len(thin) < len(made) and design.under_resolved(made, (64,)).keys() == thin
    assert not design.under_resolved(made, (192,))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"problem_name": "data"}, "data: somebody's own data state no equation"),
        ({"problem_name": "cavty"}, "did you mean"),
        ({"subset": "bc,gee"}, "no subset is called 'gee'; did you mean 'geo'"),
        ({"subset": ""}, "no subset"),
        ({"profile": "resolvd"}, "did you mean 'resolved'"),
        ({"cases": 0}, "cases: expected an integer from 1 on, got 0"),
        ({"cases": 51, "subset": "bc"}, "bc have 50 cases in all, got 51"),
        ({"frames": 0}, "frames: expected an integer from 1 on, got 0"),
        ({"seed": -1}, "seed"),
        ({"resolution": 3}, r"no numerical solver .* on \(3, 3\) cells"),
        ({"resolution": (16, 16, 16)}, "resolution: expected a number of cells, or 2"),
        ({"solver": "pseudo_spectral"}, "does not solve 'lid_driven_cavity'"),
        ({"solver": "persistence"}, "is no numerical solver"),
        ({"fields": ("u", "w")}, "no field 'w'"),
        ({"out": "missing/x.h5"}, "does not exist"),
        ({"out": "there.h5"}, "exists"),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.h5").write_bytes(b"old")
    arguments = {"problem_name": "cavity", "out": "new.h5", "cases": 2, "resolution": 16, "frames": 2} | changes
    with pytest.raises(InputError, match=message):
        generate(**arguments, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there.h5"]
    assert (tmp_path / "there.h5").read_bytes() == b"old"


@pytest.mark.compiled_quickly(False)  # to the last bit in batches of different sizes
@pytest.mark.parametrize(
    ("name", "solver"),
    [("burgers", "pseudo_spectral"), ("taylor_green", "pseudo_spectral"), ("taylor_green", None), ("darcy", None),
     ("poisson", None), ("heat_equation", None), ("burgers", None)],
)  # fmt: skip
def test_every_problem_has_a_design(tmp_path, name, solver):
    given = {"frames": 3, "resolution": 24, "progress": False, "solver": solver, "seed": 1}
    made = generate(name, tmp_path / "a.h5", cases=4, **given)
    assert made.cases == {"random": 4} and made.computed == 4 and not made.failed
    generate(name, tmp_path / "b.h5", cases=2, **given)
    with sciml.data.open(tmp_path / "a.h5") as more, sciml.data.open(tmp_path / "b.h5") as fewer:
        sciml.data.validate(more)
        assert set(sciml.data.schema.flag_names(more["split"])) == {"train", "validation", "test"}
        field = next(iter(sciml.data.schema.field_names(more)))
        for i in range(2):
            (one, a), (two, b) = (sciml.data.case(d, i) for d in (more, fewer))
            assert one == two and np.array_equal(a[field].values, b[field].values)
        values = [sciml.data.case(more, i)[1][field].values for i in range(4)]
        assert all(np.isfinite(v).all() for v in values)
        assert all(np.abs(values[0] - v).max() > 1e-3 * np.abs(v).max() for v in values[1:])


def test_the_cylinder_has_the_published_axes():
    made = CylinderFlow.design().cases(Request(("bc", "prop", "geo"), None, "published", (64, 64), 20, 0))
    assert [sum(c.subset == s for c in made) for s in ("bc", "prop", "geo")] == [50, 105, 20]
    numbers = [c.problem.reynolds(c) for c in made]
    assert min(numbers) == pytest.approx(20) and max(numbers) == pytest.approx(1000)
    base = CylinderFlow().case()
    for case in made:  # in geo one thing at a time
        changed = [n for n, v in case.parameters.items() if v != base.parameters[n]]
        assert case.subset != "geo" or len(changed) == 1


def test_tube_and_dam_have_the_published_axes():
    """Numbers of cases as the paper gives them, each on cells that the solver takes."""
    for problem, counts in ((TubeFlow, [50, 100, 25]), (DamFlow, [70, 100, 50])):
        design = problem.design()
        made = design.cases(Request(("bc", "prop", "geo"), None, "published", (64, 64), 20, 0))
        assert [sum(c.subset == s for c in made) for s in ("bc", "prop", "geo")] == counts
        assert len({json.dumps([c.subset, dict(c.parameters)]) for c in made}) == len(made) == sum(counts)
        sizes = {}
        for case in made:
            ny, nx = sizes.setdefault((c := design.cells(case, (64, 64))), c)
            assert ny >= 64 and nx >= 64
            if problem is DamFlow:
                corner = np.array([0.5, 0.5 + case.barrier_width, 1.5]) * nx / 1.5
                heights = np.array([0.1, case.barrier_height]) * ny / 0.4
                assert np.allclose(corner, corner.round()) and np.allclose(heights, heights.round())
        TwoPhaseFlow(design.cells(made[-1], (64, 64))).fit(made[-1])
        ends = made[0].problem.case(**made[0].parameters)
        times = design.times(ends, Request(("bc",), None, "resolved", (64, 64), 21, 0))
        assert times[0] == 0 and len(times) == 21


def test_frames_of_the_dam_keep_its_water(tmp_path):
    """Solved on 64 × 150 cells with lines along the barrier, stored on 24 × 20, none of which divides another."""
    case = DamFlow.design().cases(Request(("bc",), 1, "published", (20, 24), 2, 0))[0]
    fine = TwoPhaseFlow((64, 150)).solve(case, [0.1, 0.2])
    coarse = coarsened(case, fine, (20, 24), ("u_face", "v_face", "alpha"))
    assert coarse.alpha.shape == (2, 20, 24) and json.loads(coarse.attrs["settings"])["stored_cells"] == [20, 24]
    # no water has met the barrier: cells are whole, and so is what they hold
    water = [f.alpha.astype("f8").values.sum((1, 2)) * 1.5 * 0.4 / f.alpha[0].size for f in (fine, coarse)]
    np.testing.assert_allclose(water[1], water[0], rtol=1e-6)
    lost = np.diff(coarse.u_face.values, axis=2) / (1.5 / 24) + np.diff(coarse.v_face.values, axis=1) / (0.4 / 20)
    assert np.abs(lost).max() < 1e-3 * case.velocity / (1.5 / 24)


def test_random_cylinders_depend_on_seed_and_number_alone():
    design, shape = CylinderFlow.design(), (16, 24)
    many, few = (design.cases(Request(("ic",), n, "resolved", shape, 5, 3)) for n in (4, 2))
    assert [a == b for a, b in zip(many, few, strict=False)] == [True, True]
    for case in many:
        psi = np.asarray(case.initial_streamfunction)
        edges = np.concatenate([psi[0], psi[-1], psi[:, 0], psi[:, -1]])
        assert np.abs(edges).max() < 1e-9 * np.abs(psi).max() and 20 <= case.problem.reynolds(case) <= 400
        assert 0.3 <= case.inlet_motion.values.min() and case.inlet_motion.values.max() <= 1.7


def test_cylinder_frames_are_means_of_a_finer_run_and_the_file_says_so(tmp_path):
    path = tmp_path / "cylinder.h5"
    made = generate("cylinder", path, cases=3, subset=("bc", "geo"), frames=2, resolution=16, progress=False)
    assert made.failed == {} and made.under_resolved == {}
    with sciml.data.open(path) as dataset:
        for i in range(3):
            case, found = sciml.data.case(dataset, i)
            settings = json.loads(found.attrs["settings"])
            parts = [n // 16 for n in case.problem.design().cells(case, (16, 16))]
            assert settings["stored_cells"] == [16, 16]
            assert settings["resolution"] == [16 * parts[0], 16 * parts[1]] and min(parts) > 1
            assert np.array_equal(found.mask.values, case.mask(Grid.uniform(case.geometry, 16)))
            assert (found.force_x.values > 0).all() and found.force_x.attrs["units"] == "N m-1"
        # the same cells by hand
        fine = IncompressibleFlow(tuple(settings["resolution"])).solve(case, found.time.values)
        share = Apertures.of(case.geometry, Grid.uniform(case.geometry, tuple(settings["resolution"]))).volumes
        blocks, weights = (a.reshape(16, parts[0], 16, parts[1]) for a in (fine.u.values[1], share))
        mean = (blocks * weights).sum((1, 3)) / np.maximum(weights.sum((1, 3)), 1e-9) * found.mask.values
        assert np.allclose(found.u.values[1], mean, atol=1e-5)
        assert np.allclose(found.force_x.values, fine.force_x.values, rtol=1e-4)


def test_cases_with_many_fine_frames_are_solved_in_windows(tmp_path, monkeypatch):
    """Fine frames of 1000 times would not fit in memory: no more are held than a bound allows."""
    arguments = {"cases": 1, "subset": "bc", "frames": 7, "resolution": 16, "progress": False}
    generate("cylinder", tmp_path / "whole.h5", **arguments)
    monkeypatch.setattr(_numerical, "HELD", 3 * 24 * 4 * 48 * 80)
    run, asked = IncompressibleFlow.run, []

    def noted(self, cases, times, begins=None):
        asked.append(len(times[0]))
        return run(self, cases, times, begins)

    monkeypatch.setattr(IncompressibleFlow, "run", noted)
    generate("cylinder", tmp_path / "parts.h5", **arguments)
    assert len(asked) > 2 and sum(asked) == 7 and max(asked) <= 3
    with sciml.data.open(tmp_path / "whole.h5") as a, sciml.data.open(tmp_path / "parts.h5") as b:
        (_, whole), (_, parts) = sciml.data.case(a, 0), sciml.data.case(b, 0)
    assert whole.attrs["status"] == parts.attrs["status"] == "ok" and parts.sizes == whole.sizes
    assert np.array_equal(whole.time.values, parts.time.values) and np.array_equal(whole.mask.values, parts.mask.values)
    for name in ("u", "v", "p", "force_x", "force_y"):  # windows restart the choice of steps
        scale = np.abs(whole[name].values).max() if name != "force_y" else np.abs(whole.force_x.values).max()
        assert np.abs(whole[name].values - parts[name].values).max() < 5e-3 * scale, name

    for window, left in ((len(asked) - 1, 7 - asked[-1]), (0, 0)):  # the last one fails, and the first
        calls = []

        def fails(self, cases, times, begins=None, calls=calls, window=window):
            (found,) = run(self, cases, times, begins)
            calls.append(times)
            broken = {n: np.full_like(found[n], np.nan) for n in ("u", "v", "p")} if len(calls) > window else {}
            return [found | broken]

        monkeypatch.setattr(IncompressibleFlow, "run", fails)
        made = generate("cylinder", tmp_path / f"failed{window}.h5", **arguments)
        assert "not finite" in made.failed["bc0000"] and len(calls) == window + 1
        with sciml.data.open(tmp_path / f"failed{window}.h5") as data:
            assert sciml.data.case(data, 0)[1].sizes["time"] == left


def test_what_goes_through_coarse_faces_is_what_goes_through_their_parts():
    case = CylinderFlow().case()
    fine = IncompressibleFlow((24, 44), dtype="float64").solve(case, [0.01])
    coarse = coarsened(case, fine, (12, 11), ("u_face", "v_face", "p"))
    assert coarse.u_face.shape == (1, 12, 12) and coarse.v_face.shape == (1, 13, 11) and "u" not in coarse
    assert np.allclose(coarse.u_face.values[:, :, 0].mean(), 1.0)
    shares = Apertures.of(case.geometry, Grid.uniform(case.geometry, (24, 44))).faces
    whole = (fine.u_face.values[0] * shares[0])[:, ::4].reshape(12, 2, 12).mean(1)
    assert np.allclose(coarse.u_face.values[0], whole, atol=1e-13)
    lost = np.diff(coarse.u_face.values[0], axis=1) / 0.02 + np.diff(coarse.v_face.values[0], axis=0) / 0.01
    assert np.abs(lost).max() < 1e-2  # but for faces that the solver takes as closed, none
    assert np.allclose(coarse.y_face.values, fine.y_face.values[::2]) and coarse.attrs["substeps"] > 0


def test_a_plan_says_what_would_be_made_and_what_it_costs():
    found = prepare("cylinder", profile="published", frames=10).plan()
    assert found.cases == {"bc": 50, "prop": 105, "geo": 20}  # ic is not published
    assert found.bytes == 175 * 10 * 64 * 64 * 3 * 4 and found.solved_on[0] < found.solved_on[1]
    thin = prepare("cylinder", profile="published", frames=10, fraction=0.1).plan()
    assert sum(thin.cases.values()) == 18 and set(thin.cases) == set(found.cases)
    assert 0.03 * found.core_seconds < thin.core_seconds < 0.3 * found.core_seconds
    assert prepare("cylinder", profile="published", frames=1000).plan().worker_bytes < 1.5e9
    assert "175 cases (50 bc, 105 prop, 20 geo), 10 frames each of 64 x 64 cells" in str(found)
    assert "no estimate" in str(prepare("heat_equation", cases=3).plan())
    plates = prepare("heat_plate", cases=3, resolution=13).plan()
    assert plates.meshes and not found.meshes and "1 frame each on meshes with 13 sides along" in str(plates)


def test_a_family_derived_from_a_published_flow_is_none_itself():
    """Its design, being inherited, makes cases of the parent."""
    from benchmarks._gradients_flows import ProfiledCylinder

    assert ProfiledCylinder.name not in published_flows()
    assert published_flows() == ["cylinder_flow", "dam_flow", "lid_driven_cavity", "tube_flow"]


@pytest.mark.parametrize("given", [{"fraction": 0.0}, {"fraction": 1.5}, {"fraction": 0.5, "cases": 3}])
def test_a_fraction_is_a_share(given):
    with pytest.raises(InputError, match=r"fraction: expected a number in \(0, 1\]"):
        prepare("cavity", **given).plan()


def test_an_estimate_is_of_the_right_size():
    """Steps that the estimate counts against those that were taken."""
    for case, solver, end in (
        (CylinderFlow().case(), IncompressibleFlow((96, 176)), 0.05),
        (LidDrivenCavity().case(viscosity=1e-3), IncompressibleFlow(64), 2.0),
    ):
        taken = solver.solve(case, [end]).attrs["substeps"]
        guessed = _flow_batches.guessed(case, solver.resolution, solver.cfl, end).steps
        assert 0.5 < guessed / taken < 2
