"""Pictures of moved meshes: movers side by side on one field and around cylinders, quality and errors of cells, a film
of a mesh that follows a peak, and a blow moulding that comes as a mesh and ten displacements.

    python -m benchmarks._mesh_pictures

draws them anew with the movers that need no training; `draw(movers, folder)` takes any.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sciml
from benchmarks._ledger import HERE, Ledger
from sciml.geometry import Box, Disc
from sciml.meshing import Elastic, MeshMover, MongeAmpere, Springs, cell_quality, hessian
from sciml.reporting import meshes as pictures
from sciml.reporting import moving
from sciml.support import Mesh

DOCS = HERE.parent / "docs"
SQUARE = Box((0.0, 0.0), (1.0, 1.0))
CHANNEL = (
    Box((0.0, 0.0), (2.2, 1.0))
    .without(Disc((0.5, 0.38), 0.12), "first")
    .without(Disc((1.05, 0.68), 0.14), "second")
    .without(Disc((1.6, 0.35), 0.1), "third")
)
PEAK = np.array([0.7, 0.27])


def front(x: np.ndarray) -> np.ndarray:
    """A wave that is steep, and a peak beside it."""
    wave = np.tanh(25 * (x[:, 1] - 0.62 - 0.15 * np.sin(2 * np.pi * x[:, 0]))) / 2
    return wave + np.exp(-((x - PEAK) ** 2).sum(1) / 0.008)


def layers(x: np.ndarray) -> np.ndarray:
    """Monitor: thin layers around the cylinders, and wakes behind them."""
    found = np.ones(len(x))
    for disc in ((0.5, 0.38, 0.12), (1.05, 0.68, 0.14), (1.6, 0.35, 0.1)):
        dx, dy = x[:, 0] - disc[0], x[:, 1] - disc[1]
        found += 6 * np.exp(-(((np.hypot(dx, dy) - disc[2]) / 0.05) ** 2))
        found += (
            4 * np.exp(-((dy / (0.6 * disc[2])) ** 2)) / (1 + np.exp(-dx / 0.03)) * np.exp(-np.maximum(dx, 0) / 0.4)
        )
    return found


def interpolation_errors(mesh: Mesh, u: Any) -> np.ndarray:
    """‖u − Πu‖ in L² over each triangle, Πu linear with the values of u at its corners."""
    import skfem

    inner = skfem.MeshTri(mesh.points().T.copy(), mesh.cells["triangle"].T.copy())
    basis = skfem.Basis(inner, skfem.ElementTriP1(), intorder=6)

    def square(w: Any) -> np.ndarray:
        x = np.asarray(w.x)
        return (w["linear"] - u(x.reshape(2, -1).T).reshape(x.shape[1:])) ** 2

    found = skfem.Functional(square).elemental(basis, linear=basis.interpolate(u(mesh.points())))
    return np.sqrt(np.maximum(found, 0))


def draw(movers: Mapping[str, MeshMover], folder: Path, size: float = 0.042) -> list[Path]:
    """What movers make of one field on a square, and around three cylinders.

    Args:
        movers: name -> mover.
        folder: where pictures go: mesh_movers.png, mesh_quality.png, mesh_errors.png, mesh_cylinders.png.
        size: edge length of the mesh that is moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mesh = sciml.meshes.triangulate(SQUARE, size)
    wanted = hessian(mesh.points(), mesh.cells["triangle"], front(mesh.points()), strength=12.0, smoothing=4.0)
    meshes, notes = {"uniform": mesh}, {"uniform": ""}
    for name, mover in movers.items():
        meshes[name], info = mover.moved(mesh, monitor=wanted)
        notes[name] = _note(info)
        notes["uniform"] = f"σ/μ {info.equidistribution_before:.2f}"
    errors = {name: interpolation_errors(moved, front) for name, moved in meshes.items()}
    totals = {name: f"‖u − Πu‖ = {np.linalg.norm(e):.4f}" for name, e in errors.items()}
    monitors = {name: mesh.sample(wanted[None], moved.points())[0] for name, moved in meshes.items()}
    columns = len(meshes) if len(meshes) <= 3 else (len(meshes) + 1) // 2 if len(meshes) <= 8 else 4
    made = [
        pictures.save(pictures.gallery(meshes, monitors, unit="monitor", columns=columns, notes=notes),
                      folder / "mesh_movers.png"),
        pictures.save(pictures.quality_maps(meshes), folder / "mesh_quality.png", dpi=90),
        pictures.save(pictures.error_maps(meshes, errors, unit="‖u − Πu‖ of a cell", columns=columns, notes=totals),
                      folder / "mesh_errors.png"),
    ]  # fmt: skip
    channel = sciml.meshes.triangulate(CHANNEL, 1.4 * size)
    around, notes = {"uniform": channel}, {}
    for name, mover in movers.items():
        around[name], info = mover.moved(channel, monitor=layers, geometry=CHANNEL)
        notes[name] = _note(info)
        notes["uniform"] = f"σ/μ {info.equidistribution_before:.2f}"
    values = {name: layers(moved.points()) for name, moved in around.items()}
    figure = pictures.gallery(around, values, unit="monitor", columns=2, notes=notes, size=4.2)
    made.append(pictures.save(figure, folder / "mesh_cylinders.png"))
    return made


def _note(info: Any) -> str:
    way = "" if info.safeguard == 1 else f", {100 * info.safeguard:.3g} % of the way"
    return f"σ/μ {info.equidistribution:.2f}{way}"


def draw_film(name: str, mover: MeshMover, folder: Path, frames: int = 20, size: float = 0.06) -> Path:
    """A mesh that follows a peak around: mesh_moving.webp; each frame is moved from the mesh at rest."""
    folder.mkdir(parents=True, exist_ok=True)
    mesh = sciml.meshes.triangulate(SQUARE, size)
    meshes, values = [], []
    for angle in 2 * np.pi * np.arange(frames) / frames:
        at = 0.5 + 0.26 * np.array([np.cos(angle), np.sin(angle)])

        def monitor(x: np.ndarray, at: np.ndarray = at) -> np.ndarray:
            return 1 + 12 * np.exp(-((x - at) ** 2).sum(1) / 0.012)

        moved, _ = mover.moved(mesh, monitor=monitor)
        meshes.append(moved)
        values.append(monitor(moved.points()))
    return moving.film(
        folder / "mesh_moving.webp", meshes, values, titles=[name] * frames, unit="monitor",
        scale=(1, 13), milliseconds=90,
    )  # fmt: skip


def blow(path: Path) -> tuple[np.ndarray, list[Mesh], np.ndarray]:
    """Times, the mesh at each, and the thickness of its walls (T, N): a file of VTK with numbered displacements and
    thicknesses, through the package's own importer."""
    from sciml.data import importers

    with tempfile.TemporaryDirectory() as folder:
        plan = {"options": {"displacement": "displacement"}}
        found = importers.import_data(path, Path(folder) / "blow.h5", plan=plan)
        dataset = sciml.data.open(found.path).load()
        _, solution = sciml.data.case(dataset, 0)
        meshes: list[Any] = [sciml.data.support(dataset, 0, None, k) for k in range(solution.sizes["time"])]
        dataset.close()
    return np.asarray(solution["time"].values), meshes, np.asarray(solution["thickness"].values, np.float64)


def draw_blow(folder: Path, path: Path | None) -> list[Path]:
    """Two halves of a mould close around a tube that is blown up: mesh_blow.png, mesh_blow.webp, mesh_blow_quality.png;
    nothing where the file is not there."""
    if path is None or not path.is_file():
        return []
    folder.mkdir(parents=True, exist_ok=True)
    times, meshes, thickness = blow(path)
    wall = np.zeros(meshes[0].size, bool)
    wall[meshes[0].cells["triangle"]] = True  # of the tube; the mould is of quadrilaterals
    shown = np.where(wall, thickness, np.nan)
    scale = (float(np.nanmin(shown)), float(np.nanmax(shown)))
    limits = (np.min([m.points().min(0) for m in meshes], 0), np.max([m.points().max(0) for m in meshes], 0))
    look: dict[str, Any] = {"unit": "thickness of the wall", "scale": scale, "view": (18.0, -38.0), "limits": limits}
    names = [f"step {t:.0f}" for t in times]
    figure = moving.surfaces(dict(zip(names, meshes, strict=True)), dict(zip(names, shown, strict=True)), **look)
    made = [pictures.save(figure, folder / "mesh_blow.png", dpi=100)]
    frames = (
        moving.surfaces({name: mesh}, {name: values}, size=(4.2, 3.0), **look)
        for name, mesh, values in zip(names, meshes, shown, strict=True)
    )
    made.append(moving.save_film(frames, folder / "mesh_blow.webp", milliseconds=450))
    q = np.array([cell_quality(m.points(), m.cells["triangle"]) for m in meshes])
    curves = {"mean": q.mean(1), "worst twentieth": np.quantile(q, 0.05, axis=1), "least": q.min(1)}
    figure = moving.over_time(times, curves, title="Cells of the tube", xlabel="step", ylabel="quality")
    made.append(pictures.save(figure, folder / "mesh_blow_quality.png"))
    return made


def measure(ledger: Ledger, work: Any) -> None:
    """All pictures, with the movers of the table that equidistribute."""
    from benchmarks._mesh_learned import movers

    known = movers(work)
    shown: dict[str, MeshMover] = {"springs": Springs(), "Monge-Ampère": MongeAmpere(), "elastic": Elastic()}
    shown |= {name: known[name] for name in ("local, for evenness", "after UM2N", "after DMM") if name in known}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) if work.quick else DOCS
        film = draw_film("elastic", shown["elastic"], folder, frames=16, size=0.075)
        for path in (*draw(shown, folder), film, *draw_blow(folder, blown(work.data))):
            if path.suffix == ".png":  # few colours: a third of the bytes, the same to the eye
                with Image.open(path) as image:
                    image.convert("RGB").quantize(96).save(path, optimize=True)
            ledger.row(section="pictures", picture=path.name, kilobytes=round(path.stat().st_size / 1e3))


def blown(data: Path | None) -> Path | None:
    """The blow moulding in a folder with others' data."""
    return None if data is None else data / "vtk" / "blow.vtk"


def main() -> None:
    movers = {"springs": Springs(), "Monge-Ampère": MongeAmpere()}
    for path in (*draw(movers, DOCS), draw_film("Monge-Ampère", movers["Monge-Ampère"], DOCS), *draw_blow(DOCS, None)):
        print(f"{path} {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
