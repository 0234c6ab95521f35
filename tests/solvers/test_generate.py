"""Generation of cavity data sets: parameters, spread, determinism, resuming, refusals."""

import numpy as np
import pytest

import sciml.data
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.problems.designs import Request
from sciml.problems.designs import lid_driven_cavity as _cavity_cases
from sciml.solvers import IncompressibleFlow, _flow_batches, generate


def reynolds(case):
    return case.density * abs(case.lid_velocity) * case.width / case.viscosity


def test_published_axes():
    made = _cavity_cases.cases(("bc", "prop", "geo"), None, "published", (64, 64), 20, 0)
    assert [sum(c.subset == s for c in made) for s in ("bc", "prop", "geo")] == [50, 84, 25]
    numbers = [reynolds(c) for c in made]
    assert min(numbers) == pytest.approx(1.0) and max(numbers) == pytest.approx(1e5)
    assert {c.lid_velocity for c in made if c.subset == "bc"} == set(range(1, 51))
    assert {(c.width, c.height) for c in made if c.subset == "geo"} == {
        (i / 100, j / 100) for i in range(1, 6) for j in range(1, 6)
    }


@pytest.mark.parametrize("cells", [32, 64, 128])
def test_resolved_profile_keeps_axes_and_caps_reynolds_numbers(cells):
    made = _cavity_cases.cases(_cavity_cases.SUBSETS, None, "resolved", (cells, cells), 20, 0)
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
    made = _cavity_cases.cases(_cavity_cases.SUBSETS, count, "resolved", (64, 64), 4, 0)
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
    assert "2 cases are under-resolved" in str(made)
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
        ({"problem_name": "data"}, "data: has no design of cases"),
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
        ({"solver": "persistence"}, "no numerical solver on a grid"),
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
