"""Triangles by the program Gmsh."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from sciml.errors import InputError, SolverError
from sciml.geometry import Geometry
from sciml.meshes.files import tidy
from sciml.meshes.outlines import chains, nodes, outline, spacing
from sciml.support import Mesh

PROGRAM = "gmsh"


def gmsh(geometry: Geometry, size: float, *, seconds: float = 120.0) -> Mesh:
    """As `triangulate`, with the inner nodes by Gmsh (its frontal Delaunay algorithm); nodes on the boundary are the
    same.

    Args:
        geometry: a region of the plane.
        size: edge length.
        seconds: after which it is given up.

    Raises:
        InputError: the program is not installed, or the region cannot be divided with this size.
        SolverError: the program fails, or takes too long.

    Source: Geuzaine and Remacle (2009), Gmsh: a 3-D finite element mesh generator.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise InputError(f"{PROGRAM}: the program is not installed (Debian: apt-get install gmsh); use `triangulate`")
    if not (isinstance(size, int | float | np.number) and math.isfinite(size) and size > 0):
        raise InputError(f"size: expected a positive length, got {size!r}")
    with tempfile.TemporaryDirectory(prefix="gmsh-") as folder:
        source, target = Path(folder) / "region.geo", Path(folder) / "region.msh"
        source.write_text(script(geometry, float(size)), encoding="ascii")
        command = [program, str(source), "-2", "-nt", "1", "-format", "msh2", "-v", "2", "-o", str(target)]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SolverError(f"{PROGRAM}: no answer within {seconds:g} s") from None
        if done.returncode or not target.is_file():
            said = " ".join((done.stderr or done.stdout).split())
            raise SolverError(f"{PROGRAM}: exit status {done.returncode}: {said[-200:]}")
        position, triangles = _read(target.read_text(encoding="ascii"))
    mesh, _ = tidy(position, {"triangle": triangles})
    return mesh


def script(geometry: Geometry, size: float) -> str:
    """The region in Gmsh's language: its boundary as lines of one edge each."""
    loops = outline(geometry)
    parts = chains(loops, size)
    wanted = spacing(geometry, parts, size)
    points, sides = nodes(parts, wanted)
    lines = ["Mesh.Algorithm = 6;", f"Mesh.CharacteristicLengthMax = {size:.17g};"]
    for k, ((x, y), h) in enumerate(zip(points.tolist(), wanted(points).tolist(), strict=True), 1):
        lines.append(f"Point({k}) = {{{x:.17g}, {y:.17g}, 0, {h:.17g}}};")
    for k, (a, b) in enumerate(sides.tolist(), 1):
        lines.append(f"Line({k}) = {{{a + 1}, {b + 1}}};")
    rings, left = [], {int(a): (k, int(b)) for k, (a, b) in enumerate(sides, 1)}
    while left:
        first = node = next(iter(left))
        ring, area = [], 0.0
        while node in left:
            k, following = left.pop(node)
            ring.append(k)
            (ax, ay), (bx, by) = points[node], points[following]
            area += ax * by - bx * ay
            node = following
        if node != first:
            raise InputError("geometry: its boundary is not made of closed loops")
        rings.append((area, ring))
    outer = [area for area, _ in rings if area > 0]
    if len(outer) != 1:
        raise InputError(f"geometry: a region of {len(outer)} parts, expected one that hangs together")
    rings.sort(key=lambda pair: -pair[0])
    for k, (_, ring) in enumerate(rings, 1):
        lines.append(f"Curve Loop({k}) = {{{', '.join(map(str, ring))}}};")
    lines.append(f"Plane Surface(1) = {{{', '.join(str(k + 1) for k in range(len(rings)))}}};")
    lines.append("Transfinite Curve {:} = 2;")
    return "\n".join(lines) + "\n"


def _read(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and triangles of a file of version 2.2."""
    rows = text.split("\n")
    try:
        at = rows.index("$Nodes")
        table = np.array([row.split() for row in rows[at + 2 : at + 2 + int(rows[at + 1])]], dtype=np.float64)
        at = rows.index("$Elements")
        cells = [[int(n) for n in row.split()] for row in rows[at + 2 : at + 2 + int(rows[at + 1])]]
    except (ValueError, IndexError):
        raise SolverError(f"{PROGRAM}: its answer is not as expected") from None
    number = np.full(int(table[:, 0].max()) + 1, -1)
    number[table[:, 0].astype(np.int64)] = np.arange(len(table))
    triangles = [cell[3 + cell[2] :] for cell in cells if cell[1] == 2]
    if not triangles:
        raise SolverError(f"{PROGRAM}: made no triangles")
    return table[:, 1:], number[np.array(triangles)]
