"""OpenFOAM's meshes and files, and what is refused: needs no OpenFOAM."""

import numpy as np
import pytest

from sciml.boundary import Dirichlet, Neumann, Outflow, Series
from sciml.errors import FileFormatError, InputError
from sciml.geometry import Box, Disc, Polygon
from sciml.problems import Burgers, CylinderFlow, DamFlow, HeatEquation, LidDrivenCavity, TaylorGreen, TubeFlow
from sciml.solvers import OpenFOAM, _foam_case, _foam_files, _foam_march, _foam_mesh, _foam_run, generate
from sciml.support import Grid

CASES = [
    (LidDrivenCavity().case(), (8, 12), 1.0),
    (TaylorGreen().case(length=1.0), (6, 5), 1.0),
    (DamFlow().case(), (16, 120), 0.6 - 0.1 * 0.05),
    (CylinderFlow().case(), (48, 88), 0.22 * 0.12 - np.pi * 1e-4),
    (CylinderFlow().case(y_min=-0.0115, x_min=-0.03), (32, 88), 0.19 * 0.0715 - np.pi * 1e-4),
    (CylinderFlow().case(radius=0.001), (12, 22), 0.22 * 0.12 - np.pi * 1e-6),
]


@pytest.mark.parametrize(("case", "shape", "area"), CASES)
def test_meshes_are_closed(case, shape, area):
    """Of every cell the sides add up to nothing, the cells to the domain, and the sides of the domain to its length."""
    mesh = _foam_mesh.mesh_of("here", case.geometry, shape)
    inner = len(mesh.neighbour)
    total = np.zeros((len(mesh.cells), 2))
    np.add.at(total, mesh.owner, mesh.normals)
    np.add.at(total, mesh.neighbour, -mesh.normals[:inner])
    size = np.sqrt(mesh.areas)
    assert (np.abs(total).max(1) < 1e-12 * size).all()
    assert mesh.areas.min() > 0
    assert mesh.areas.sum() == pytest.approx(area, rel=2e-3 if "radius" in case.parameters else 1e-12)
    # OpenFOAM's order: by owner, of those by neighbour
    pairs = np.stack([mesh.owner[:inner], mesh.neighbour], axis=1)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (np.lexsort((pairs[:, 1], pairs[:, 0])) == np.arange(inner)).all()
    # outwards, all of the boundary once
    out = mesh.middles[:inner] - mesh.centroids[mesh.owner[:inner]]
    assert ((out * mesh.normals[:inner]).sum(1) > 0).all()
    assert [p.start for p in mesh.patches] == list(inner + np.cumsum([0, *(p.count for p in mesh.patches)]))[:-1]
    assert mesh.patches[-1].start + mesh.patches[-1].count == len(mesh.edges)
    (x0, x1), (y0, y1) = case.geometry.extents
    for name, length in (("x_max", y1 - y0), ("y_max", x1 - x0)):
        patch = next(p for p in mesh.patches if p.part == name)
        assert np.linalg.norm(mesh.normals[patch.edges], axis=1).sum() == pytest.approx(length)


@pytest.mark.parametrize(("case", "shape", "area"), CASES[:-1])
def test_linear_fields_come_back_on_the_grid(case, shape, area):
    """In all cells but those that the disc cuts, whose means are of what is open of them."""
    mesh = _foam_mesh.mesh_of("here", case.geometry, shape)
    grid = Grid.uniform(case.geometry, shape, masked=True)
    found = (_foam_mesh.onto_grid(mesh, case.geometry, shape) @ (mesh.centroids @ [1.0, -2.0] + 3)).reshape(shape)
    off = np.abs(found - grid.points() @ [1.0, -2.0] - 3)
    inside = np.ones(shape, bool) if grid.inside is None else grid.inside
    assert (found[~inside] == 0).all()
    whole = case.geometry.signed_distance(grid.points()) > max(float(w[0]) for w in grid.widths)
    assert off[whole].max() < 1e-12
    assert off[inside].max() < 1.5 * float(grid.widths[0][0])


def test_rings_follow_the_disc():
    case = CylinderFlow().case()
    mesh = _foam_mesh.mesh_of("here", case.geometry, (48, 88))
    patch = next(p for p in mesh.patches if p.part == "cylinder")
    np.testing.assert_allclose(np.linalg.norm(mesh.points[mesh.edges[patch.edges]], axis=-1), 0.01)
    assert patch.count == 64
    assert mesh.normals[patch.edges].sum(0) == pytest.approx(0, abs=1e-15)
    inner = slice(0, len(mesh.neighbour))
    along = mesh.centroids[mesh.neighbour] - mesh.centroids[mesh.owner[inner]]
    across = mesh.normals[inner]
    cosine = (along * across).sum(1) / np.linalg.norm(along, axis=1) / np.linalg.norm(across, axis=1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 50


def test_lists_are_written_and_read(tmp_path):
    random = np.random.default_rng(0)
    for values in (random.random(5), random.random((5, 3)), np.full(5, 2.5), np.tile([1.0, -2.0, 0.0], (5, 1))):
        text = f"internalField {_foam_files.entry(values)};\nboundaryField {{ }}\n"
        _foam_files.put(tmp_path, "0/U", "volVectorField", text)
        np.testing.assert_array_equal(_foam_files.internal(tmp_path / "0" / "U", 5), values)
        for kind, arch in (("<f8", "64"), ("<f4", "32")):
            head = (
                f'FoamFile {{ version 2.0; format binary; arch "LSB;label=32;scalar={arch}"; class vol; object U; }}\n'
            )
            name = "vector" if values.ndim == 2 else "scalar"
            raw = head.encode() + f"internalField nonuniform List<{name}> 5(".encode()
            (tmp_path / "U").write_bytes(raw + values.astype(kind).tobytes() + b");\nboundaryField { }\n")
            np.testing.assert_array_equal(_foam_files.internal(tmp_path / "U", 5), values.astype(kind))
    (tmp_path / "cut").write_bytes((tmp_path / "U").read_bytes()[:-60])
    for name, count, message in (
        ("U", 4, "expected 4 values, found 5"),
        ("cut", 5, "ends within its values"),
        ("none", 5, "cannot be read"),
    ):
        with pytest.raises(FileFormatError, match=message):
            _foam_files.internal(tmp_path / name, count)
    (tmp_path / "bad").write_text("internalField calculated;")
    with pytest.raises(FileFormatError, match="expected values of scalars or vectors, found 'calculated;'"):
        _foam_files.internal(tmp_path / "bad", 5)


def test_times_at_equal_distances_are_one_run():
    assert _foam_case.groups(0.0, np.array([0.0, 0.1, 0.2, 0.3])) == [(0.0, 0.1, 3)]
    found = _foam_case.groups(0.5, np.array([0.75, 1.0, 2.0, 3.0, 3.5]))
    assert found == [(0.5, 0.25, 2), (1.0, 1.0, 2), (3.0, 0.5, 1)]


def sides(problem, shape=(8, 16), **values):
    case = problem.case(**values)
    mesh = _foam_mesh.mesh_of("here", case.geometry, shape)
    return {s.patch.part: s for s in _foam_case.sides(case, mesh, shape, np.array([0.0, 1.0]))}


def test_conditions_become_those_of_openfoam():
    found = sides(LidDrivenCavity(), lid_motion=Series([0.5, 1.0], [0.0, 2.0]), lid_velocity=3.0)
    lid = _foam_case.velocity_on(found["y_max"])
    assert lid == (
        "type uniformFixedValue; uniformValue table ((0.0 (0.0 0.0 0)) (0.5 (0.0 0.0 0)) (1.0 (6.0 0.0 0)));"
    )
    assert _foam_case.velocity_on(found["x_min"]) == "type noSlip;"
    found = sides(CylinderFlow("parabolic"), (48, 88))
    inlet = found["x_min"].values[0, :, 0]
    assert inlet.mean() == pytest.approx(1.0, rel=1e-12)  # Simpson's rule is exact for a parabola
    assert "pressureInletOutletVelocity" in _foam_case.velocity_on(found["x_max"])
    motion = Series([0.0, 1.0], [1.0, 2.0])
    found = sides(CylinderFlow("parabolic"), (48, 88), inlet_motion=motion)
    np.testing.assert_allclose(found["x_min"].values[1, :, 0], 2 * inlet)
    assert "timeVaryingMappedFixedValue" in _foam_case.velocity_on(found["x_min"])
    assert _foam_case.velocity_on(sides(TaylorGreen())["x_min"]) == "type cyclic;"


class Odd(TubeFlow):
    """The tube with other conditions, or another domain."""

    def __init__(self, change, domain=None):
        self.change, self.domain = change, domain

    def geometry(self, case):
        return super().geometry(case) if self.domain is None else self.domain

    def boundary_conditions(self, case):
        return self.change(super().boundary_conditions(case))


TUBE = Box((0, 0), (1.0, 0.1))


@pytest.mark.parametrize(("change", "domain", "message"), [
    (lambda c: c | {"x_min": c["x_min"] | {"alpha": Dirichlet(1.5)}}, None, r"alpha on x_min: expected one number in"),
    (lambda c: c | {"x_max": {"u": Outflow(), "v": Outflow(), "p": Dirichlet(3.0)}}, None, "open: expected"),
    (lambda c: c | {"x_max": {"u": Outflow()}}, None, "x_max: expected the velocity"),
    (lambda c: c | {"y_max": {"u": Neumann(), "v": Dirichlet()}}, None, "y_max: expected the velocity"),
    (lambda c: c | {"y_max": c["y_max"] | {"p": Dirichlet()}}, None, "expected no pressure but where it is open"),
    (lambda c: c | {"x_max": c["y_max"]}, None, "the box loses -0.1 m²/s and has no open end; expected an Outflow"),
    (lambda c: c | {"left": c["x_min"]}, None, "no boundary is called that"),
    (lambda c: c | {"obstacle": c["y_min"]}, TUBE - Polygon(((0.4, 0.02), (0.6, 0.02), (0.5, 0.05))), "cuts cells"),
    (lambda c: c | {"b": c["y_min"], "a": c["y_min"]},
     TUBE.without(Disc((0.3, 0.05), 0.02), "a").without(Disc((0.6, 0.05), 0.02), "b"), "or one disc in a box"),
    (lambda c: c | {"obstacle": c["y_min"]}, TUBE - Disc((0.3, 0.03), 0.029), "are left between the disc and the side"),
    (lambda c: c | {"obstacle": c["y_min"]}, TUBE - Box((0.5, 0.0), (0.625, 0.1)), "cuts off a part of the domain"),
])  # fmt: skip
def test_what_it_cannot_do_gets_one_line(change, domain, message):
    with pytest.raises(InputError, match=message) as told:
        OpenFOAM((8, 16)).fit(Odd(change, domain).case())
    assert "\n" not in str(told.value)


def test_which_problems_it_takes():
    solver = OpenFOAM(8)
    assert all(solver.supports(p()) for p in (LidDrivenCavity, CylinderFlow, TaylorGreen, TubeFlow, DamFlow))
    assert not any(solver.supports(p()) for p in (Burgers, HeatEquation))
    with pytest.raises(InputError, match="expected two counts"):
        OpenFOAM.on((8, 8, 8))
    with pytest.raises(InputError, match="gives no rates of change"):
        OpenFOAM.on((8, 8), tendencies=True)


@pytest.mark.parametrize("given", [
    {"resolution": 3}, {"resolution": (8, True)}, {"cfl": 1.5}, {"time_step": 0}, {"time_scheme": "a;b"},
    {"convection": 3}, {"correctors": 0}, {"tolerance": 2}, {"max_substeps": 0}, {"keep": 5},
])  # fmt: skip
def test_wrong_arguments_are_named(given):
    with pytest.raises(InputError, match=f"openfoam: {next(iter(given))} is .*, expected"):
        OpenFOAM(**given)


def test_one_line_where_there_is_no_openfoam(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WM_PROJECT_DIR", raising=False)
    monkeypatch.setattr(_foam_run, "DEBIAN", tmp_path)
    assert _foam_run.environment() is None and _foam_run.version() == ""
    case = LidDrivenCavity().case()
    for ask in (
        lambda: OpenFOAM(8).solve(case, [0.1]),
        lambda: OpenFOAM(8).solve_many([case], [0.1]),
        lambda: generate("cavity", tmp_path / "a.h5", cases=2, solver="openfoam", resolution=8, progress=False),
    ):
        with pytest.raises(InputError, match="openfoam: OpenFOAM is not installed: expected icoFoam") as told:
            ask()
        assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", ["icoFoam", "interFoam"])
def test_an_installation_of_ones_own_is_found(monkeypatch, tmp_path, program):
    """By WM_PROJECT_DIR, whose bashrc says where the programs are; both are needed."""
    for name in {"icoFoam", program}:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "bashrc").write_text(f'export PATH="{tmp_path}/bin:/usr/bin:/bin" MARK=here\n')
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "bash").symlink_to("/bin/bash")
    (empty / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv("WM_PROJECT_DIR", str(tmp_path))
    (tmp_path / "etc" / "bashrc").write_text(f'export PATH="{tmp_path}/bin:{empty}" MARK=here\n')
    found = _foam_run.environment()
    assert (found is not None and found["MARK"] == "here") == (program == "interFoam")


def test_what_a_log_says():
    lines = ["Time = 1", "--> FOAM FATAL IO ERROR:", "cannot find file", "", "file: /a/U at line 0.", "FOAM exiting"]
    assert _foam_run.failure("icoFoam", lines, 1) == "icoFoam: cannot find file"
    assert "not finite" in _foam_run.failure("icoFoam", ["#0  Foam::sigFpe::sigHandler(int)"], -8)
    assert _foam_run.failure("icoFoam", ["Time = 1", ""], 2) == "icoFoam ended with status 2: Time = 1"


def test_a_run_whose_steps_shrink_to_nothing_is_ended():
    """As interFoam does where a flow runs away: it would go on for ever without an error."""
    from types import SimpleNamespace

    told = []
    march = SimpleNamespace(
        options=SimpleNamespace(cfl=0.3, time_step=None), reached=0.0, tick=told.append, max_substeps=10**6
    )
    watch = _foam_march._Watch(march, np.array([1.0]), np.zeros(1, np.int64), 0.0, 1.0, False)
    assert all(watch(1e-3 * (k + 1), None) is None for k in range(200))
    said = [watch(0.2 + 1e-13 * k, None) for k in range(1, 120)]
    assert said[:98] == [None] * 98 and any("the flow runs away" in (s or "") for s in said)
