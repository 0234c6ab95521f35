"""Somebody's own data as a problem, where its values live, and the symmetries of problems."""

import json

import numpy as np
import pytest

from sciml import data, registry
from sciml.data.importers.cfdbench import import_tree
from sciml.errors import InputError
from sciml.geometry import Box
from sciml.problem import FieldSpec, InputSpec, ParameterSpec, rebuild
from sciml.problems import Burgers, DataProblem, LidDrivenCavity, TaylorGreen
from sciml.problems.own_data import Observed
from sciml.solvers import IncompressibleFlow
from sciml.support import Grid, Mesh, Points
from sciml.symmetry import Symmetry

RNG = np.random.default_rng(0)


def problem(**more):
    given = {"fields": ["T", FieldSpec("u", "m s-1")], "parameters": ["power"], "dimensions": 2}
    return DataProblem("plume", **(given | more))


def solution(p, support, frames=3, **parameters):
    case = p.case(**parameters).on(support)
    values = {n.name: (("time", *support.dims), RNG.normal(size=(frames, *support.shape))) for n in p.fields}
    return data.solution(case, np.arange(frames) * 0.5, values, support)


GRID = Grid((np.linspace(0, 2, 6), np.linspace(-1, 1, 5)))
NODES = RNG.random((12, 2))
TRIANGLES = Mesh(np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]), {"triangle": np.array([[0, 1, 2], [0, 2, 3]])})


def test_what_it_is():
    p = DataProblem("flow_round_a_wing", ["u", "v", "p"], ["mach"], periodic=(True, False))
    assert p.velocity == ("u", "v") and not p.steady and p.state_fields == ("u", "v", "p") and p.balances() == {}
    assert DataProblem("a", ["u", "v"], velocity=()).velocity == () and DataProblem("a", ["u"]).velocity == ()
    case = p.case(mach=0.8)
    with pytest.raises(InputError, match="does not say where it lives"):
        _ = case.geometry
    assert case.on(GRID).geometry.extents == GRID.extents and case.on(GRID).geometry.periodic == (True, False)
    assert p.features(case, 1.0, 0.25) == {"parameter_mach": 0.8, "step": 0.25}
    assert DataProblem("a", ["u"], steady=True).features(DataProblem("a", ["u"], steady=True).case(), 0, 0) == {}
    with pytest.raises(InputError, match="resume"):
        p.initial_state(case, GRID)
    assert "u, v, p" in repr(p)


def test_json_round_trip():
    p = problem(
        inputs=[InputSpec("kappa", "1", "coefficient", ("y", "x"), positive=True)], periodic=(True, False),
        observed=Observed({"T": (0.0, 1.0)}, ("T",), 1e-3, 0.1), time_unit="h", length_unit="km", title="A plume",
        parameters=[ParameterSpec("power", "W", 2.0, minimum=0.0)],
    )  # fmt: skip
    attrs = p.to_attrs()
    again = rebuild(attrs, {})
    assert isinstance(again, DataProblem) and again.options == p.options and again.same(p) and p.same(again)
    assert again.observed == p.observed and again.inputs == p.inputs and again.parameters == p.parameters
    assert again.invariants == p.invariants and p.invariants[0].field == "T"
    assert json.loads(attrs["problem_json"])["title"] == "A plume"
    assert problem(observed={"conserved": ["T"]}).observed.conserved == ("T",)
    seen = problem().with_observed(Observed({"u": (-1.0, 1.0)}))
    assert seen.observed.bounds == {"u": (-1.0, 1.0)} and seen.same(problem())
    with pytest.raises(InputError, match="not JSON"):
        rebuild({"problem": "plume", "problem_json": "{"}, {})
    with pytest.raises(InputError, match="do not fit"):
        rebuild({"problem": "plume", "problem_json": '{"nme": "a"}'}, {})


def test_same():
    assert problem().same(problem(title="Another", time_unit="h"))
    for other in (
        problem(steady=True), problem(dimensions=3), problem(periodic=(True, False)),
        DataProblem("plume", ["T"], ["power"]), DataProblem("plume", ["T", "u"], ["heat"]),
        DataProblem("plumes", ["T", "u"], ["power"]), Burgers(),
    ):  # fmt: skip
        assert not problem().same(other) and not other.same(problem())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataProblem("burgers", ["u"]), "a problem of this package"),
        (lambda: DataProblem("", ["u"]), "expected a word"),
        (lambda: DataProblem("a", []), "at least one"),
        (lambda: DataProblem("a", ["u"], dimensions=4), "dimensions"),
        (lambda: DataProblem("a", ["u"], periodic=(True,)), "periodic"),
        (lambda: DataProblem("a", ["u"], velocity=("w",)), "no field is called 'w'"),
        (lambda: DataProblem("a", [5]), "expected a name"),
        (lambda: DataProblem("a", [{"nme": "u"}]), "FieldSpec"),
        (lambda: problem().case(heat=3.0), "heat"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("support", [GRID, Points(NODES), TRIANGLES], ids=["grid", "points", "mesh"])
def test_from_arrays_to_files_and_back(support, tmp_path):
    p = problem()
    made = [solution(p, support, power=float(k)) for k in range(3)]
    data.write(data.pack(made, dtype=None), tmp_path / "plume.h5")
    ds = data.open(tmp_path / "plume.h5")
    for k in range(3):
        case, found = data.case(ds, k)
        assert case.problem.same(p) and case.parameters["power"] == k and case.support is not None
        assert type(case.support) is type(support) and case.support.same(support)
        np.testing.assert_allclose(case.geometry.extents, support.extents)
        np.testing.assert_array_equal(found["T"].values, made[k]["T"].values)
    again = DataProblem.from_dataset(ds)
    assert again.same(p) and again.field("u").unit == "m s-1"


def test_nodes_that_differ_from_case_to_case():
    p = problem()
    several = [Points(RNG.random((n, 2))) for n in (5, 9, 7)]
    ds = data.pack([solution(p, s, power=1.0) for s in several], dtype=None)
    for k, support in enumerate(several):
        assert data.case(ds, k)[0].support.same(support)
    mixed = [TRIANGLES, Mesh(TRIANGLES.position + np.array([3.0, 0.0]), {"triangle": TRIANGLES.cells["triangle"][:1]})]
    ds = data.pack([solution(p, s, power=1.0) for s in mixed], dtype=None)
    found = [data.case(ds, k)[0].support for k in range(2)]
    assert found[1].same(mixed[1]) and [len(s.cells["triangle"]) for s in found] == [2, 1]


def test_nodes_that_move():
    p = problem()
    path = NODES + 0.1 * np.arange(3)[:, None, None]
    values = {n: (("time", "node"), RNG.normal(size=(3, 12))) for n in ("T", "u")}
    case = p.case(power=1.0)
    coords = {"x": path[..., 0], "y": path[..., 1]}
    case = case.on(Points(path.reshape(-1, 2)))
    ds = data.pack([data.solution(case, np.arange(3.0), values, coords)] * 2, dtype=None)
    for i in range(2):
        for k in range(3):
            np.testing.assert_allclose(data.support(ds, i, frame=k).points(), path[k])


KEYS = {
    "tube": {"vel_in": 0.5, "height": 0.1, "width": 1.0},
    "dam": {"velocity": 0.5, "height": 1.0, "width": 1.5, "barrier_height": 0.3, "barrier_width": 0.2},
    "cylinder": {"vel_in": 0.5, "radius": 0.1, "x_min": -0.5, "x_max": 1.5, "y_min": -0.5, "y_max": 0.5},
}


@pytest.mark.parametrize("name", [n for n in KEYS if n != "cylinder"])
def test_imported_data_of_unknown_problems(name, tmp_path, monkeypatch):
    """Data of flows that there is no class for: problems of their own, with their masks."""
    known = registry.problems.get(f"{name}_flow")
    monkeypatch.delitem(registry.problems._classes, known.name)
    for k in range(2):
        place = tmp_path / "tree" / name / "bc" / f"case000{k}"
        place.mkdir(parents=True)
        for field in "uv":
            np.save(place / f"{field}.npy", RNG.normal(size=(4, 10, 20)).astype("f4"))
        keys = KEYS[name] | {"density": 1.0 + k, "viscosity": 0.01}
        (place / "case.json").write_text(json.dumps(keys))
    import_tree(tmp_path / "tree", tmp_path / "a.h5")
    ds = data.open(tmp_path / "a.h5")
    case, found = data.case(ds, 1)
    p = case.problem
    assert isinstance(p, DataProblem) and p.name == f"{name}_flow" and p.velocity == ("u", "v") and p.dimensions == 2
    assert p.same(data.case(ds, 0)[0].problem) and p.same(DataProblem.from_dataset(ds))
    assert isinstance(case.support, Grid) and case.support.shape == found["u"].shape[1:] == (10, 20)
    assert case.parameters["density"] == 2 and p.field("u").unit == "m s-1" and not p.steady
    mask = case.support.inside
    if name == "tube":
        assert mask is None
    else:
        assert mask is not None and np.array_equal(mask, found["mask"].values == 1) and 0 < mask.sum() < mask.size
        assert np.array_equal(case.mask(case.support), found["mask"].values)
    np.testing.assert_allclose(case.geometry.extents, case.support.extents)
    json.dumps(p.options)
    # what is made of such a case is a solution like any other
    frames = {n: (("time", "y", "x"), np.asarray(found[n].values)) for n in ("u", "v")}
    again = data.case(data.pack([data.solution(case, found.time.values, frames, case.support)]), 0)[0]
    assert again == case and again.support.same(case.support)


def test_inputs_of_data_without_a_class():
    """A static field that comes with the data is an input of the case, on the cells of the solution."""
    p = problem(inputs=[InputSpec("kappa", "1", "coefficient", ("y", "x"))])
    kappa = RNG.random(GRID.shape)
    case = p.case(power=1.0, kappa=kappa).on(GRID)
    values = {n: (("time", "y", "x"), RNG.normal(size=(2, *GRID.shape))) for n in ("T", "u")}
    ds = data.pack([data.solution(case, [0.0, 1.0], values, GRID)], dtype=None)
    del ds.attrs["problem_json"]
    foreign = ds.drop_vars("case_json")
    found = data.case(foreign, 0)[0]
    assert isinstance(found.problem, DataProblem) and np.array_equal(found.inputs["kappa"], kappa)
    assert found.problem.inputs[0].dims == ("y", "x")


# -- where the values of a case live ---------------------------------------------------------------------------------


def test_supports_of_data():
    width = np.array([0.1, 0.2, 0.3, 0.4])
    faces = np.concatenate([[0.0], np.cumsum(width)])
    x, y = (faces[1:] + faces[:-1]) / 2, (np.arange(3) + 0.5) / 3
    fields = {n: (("time", "y", "x"), np.zeros((2, 3, 4))) for n in ("u", "v")}
    stretched = data.solution(LidDrivenCavity().case(), [0.0, 1.0], fields, {"x": x, "y": y})
    case = data.case(data.pack([stretched]), 0)[0]
    assert isinstance(case.support, Grid)
    np.testing.assert_allclose(case.support.faces[0], faces, atol=1e-12)
    mask = np.ones((3, 4), np.uint8)
    mask[0, 1] = 0
    holed = data.solution(LidDrivenCavity().case(), [0.0, 1.0], fields, {"x": x, "y": y}, mask=mask)
    found = data.case(data.pack([holed, stretched]), 0)[0].support
    assert (
        np.array_equal(found.inside, mask == 1)
        and data.case(data.pack([holed, stretched]), 1)[0].support.inside is None
    )
    n = 8
    case = Burgers().case()
    zero = {"u": (("time", "x"), np.zeros((2, n)))}
    around = data.case(data.pack([data.solution(case, [0.0, 1.0], zero, {"x": np.arange(n) / n})]), 0)[0].support
    np.testing.assert_allclose(around.centres[0], np.arange(n) / n, atol=1e-12)
    assert around.periodic == (True,) and around.uniform_cells


# -- symmetries ------------------------------------------------------------------------------------------------------


def test_maps_of_a_symmetry():
    turn = Symmetry("exchange", lambda c: c, swap=("x", "y"), pairs=(("u", "v"),))
    u, v = RNG.normal(size=(2, 4, 4))
    _, found = turn.solution(None, {"u": u, "v": v})  # type: ignore[arg-type]
    assert np.array_equal(found["u"], v.T) and np.array_equal(found["v"], u.T)
    mirror = Symmetry("mirror", lambda c: c, flip=("x",), odd=("u",))
    _, found = mirror.solution(None, {"u": u, "v": v})  # type: ignore[arg-type]
    assert np.array_equal(found["u"], -u[:, ::-1]) and np.array_equal(found["v"], v[:, ::-1])
    with pytest.raises(InputError, match="axes"):
        Symmetry("wrong", lambda c: c, flip=("r",))


@pytest.mark.parametrize("spinning", [False, True])
def test_the_mirror_is_a_symmetry_of_the_cavity(spinning):
    """The flow of the image of a case is the image of its flow."""
    inputs = {}
    if spinning:
        x = np.linspace(0, 1, 13)
        bump = np.sin(np.pi * x) ** 2
        inputs["initial_streamfunction"] = 0.1 * np.outer(bump, bump * (1 + x))
    case = LidDrivenCavity().case(lid_velocity=0.7, height=1.5, **inputs)
    (mirror,) = LidDrivenCavity.symmetries
    solver, times = IncompressibleFlow(resolution=12), [0.1, 0.6]
    flow = solver.solve(case, times)
    image, expected = mirror.solution(case, {n: flow[n].values for n in ("u", "v", "p")})
    found = solver.solve(image, times)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].values, values, atol=2e-5, err_msg=name)
    there, back = (c.problem.features(c, 0.0, 0.1) for c in (case, image))
    assert back["lid_now"] == -there["lid_now"] == -1 and back["lid_next"] == -there["lid_next"]
    assert {k: v for k, v in there.items() if "lid" not in k} == {k: v for k, v in back.items() if "lid" not in k}
    assert mirror.case(image).parameters == case.parameters
    if spinning:
        np.testing.assert_array_equal(
            mirror.case(image).inputs["initial_streamfunction"], inputs["initial_streamfunction"]
        )


def test_case_with_and_without_support():
    case = TaylorGreen().case()
    grid = Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), 4)
    assert case.on(grid) == case and hash(case.on(grid)) == hash(case) and case.on(grid).support is grid
