"""Runs icoFoam of OpenFOAM on the lid-driven cavity: case files, runs and results on cell centres."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEADER = "FoamFile {{ version 2.0; format {format}; class {cls}; object {name}; }}\n"
RUN_SECONDS = re.compile(r"ExecutionTime = ([\d.]+) s")


@dataclass(frozen=True)
class Cavity:
    """A square cavity of side 1 m and lid speed 1 m/s.

    Args:
        time_scheme: of OpenFOAM's ddtSchemes: "Euler" (the tutorial's), "backward", "CrankNicolson 0.9".
        tolerance: of the pressure solver (absolute; the tutorial's is 1e-6, its final relative one 0).
    """

    cells: int
    reynolds: float
    time_step: float
    end: float
    write_every: float
    time_scheme: str = "backward"
    correctors: int = 2
    tolerance: float = 1e-6
    pressure: str = "PCG"


def environment() -> dict[str, str] | None:
    """The environment of the installed OpenFOAM; None where there is none."""
    if shutil.which("icoFoam") is None:
        return None
    bashrc = Path("/usr/share/openfoam/etc/bashrc")
    if not bashrc.exists():
        return dict(os.environ)
    shell = f"source {bashrc} >/dev/null 2>&1; env -0"
    told = subprocess.run(["bash", "-c", shell], capture_output=True, check=False).stdout.decode()
    return dict(line.split("=", 1) for line in told.split("\0") if "=" in line)


def write(folder: Path, case: Cavity) -> None:
    """The case's dictionaries and its mesh."""

    def put(name: str, cls: str, text: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER.format(format="ascii", cls=cls, name=path.name) + text)

    n = case.cells
    put(
        "system/blockMeshDict",
        "dictionary",
        f"""scale 1;
vertices ((0 0 0) (1 0 0) (1 1 0) (0 1 0) (0 0 0.1) (1 0 0.1) (1 1 0.1) (0 1 0.1));
blocks (hex (0 1 2 3 4 5 6 7) ({n} {n} 1) simpleGrading (1 1 1));
edges ();
boundary (
  lid {{ type wall; faces ((3 7 6 2)); }}
  walls {{ type wall; faces ((0 4 7 3) (2 6 5 1) (1 5 4 0)); }}
  sides {{ type empty; faces ((0 3 2 1) (4 5 6 7)); }}
);
""",
    )
    put(
        "system/controlDict",
        "dictionary",
        f"""application icoFoam; startFrom startTime; startTime 0; stopAt endTime; endTime {case.end:.12g};
deltaT {case.time_step:.12g}; writeControl runTime; writeInterval {case.write_every:.12g}; purgeWrite 0;
writeFormat binary; writePrecision 12; writeCompression off; timeFormat general; timePrecision 8;
runTimeModifiable false;
""",
    )
    put(
        "system/fvSchemes",
        "dictionary",
        f"""ddtSchemes {{ default {case.time_scheme}; }}
gradSchemes {{ default Gauss linear; }}
divSchemes {{ default none; div(phi,U) Gauss linear; }}
laplacianSchemes {{ default Gauss linear orthogonal; }}
interpolationSchemes {{ default linear; }}
snGradSchemes {{ default orthogonal; }}
""",
    )
    smoother = "smoother GaussSeidel;" if case.pressure == "GAMG" else "preconditioner DIC;"
    put(
        "system/fvSolution",
        "dictionary",
        f"""solvers {{
  p {{ solver {case.pressure}; {smoother} tolerance {case.tolerance:g}; relTol 0.05; }}
  pFinal {{ $p; relTol 0; }}
  U {{ solver smoothSolver; smoother symGaussSeidel; tolerance {case.tolerance / 10:g}; relTol 0; }}
}}
PISO {{ nCorrectors {case.correctors}; nNonOrthogonalCorrectors 0; pRefCell 0; pRefValue 0; }}
""",
    )
    put("constant/transportProperties", "dictionary", f"nu [0 2 -1 0 0 0 0] {1 / case.reynolds:.12g};\n")
    put(
        "0/U",
        "volVectorField",
        """dimensions [0 1 -1 0 0 0 0];
internalField uniform (0 0 0);
boundaryField { lid { type fixedValue; value uniform (1 0 0); } walls { type noSlip; } sides { type empty; } }
""",
    )
    put(
        "0/p",
        "volScalarField",
        """dimensions [0 2 -2 0 0 0 0];
internalField uniform 0;
boundaryField { lid { type zeroGradient; } walls { type zeroGradient; } sides { type empty; } }
""",
    )
    subprocess.run(["blockMesh"], cwd=folder, env=environment(), check=True, capture_output=True)


def run(folder: Path) -> float:
    """Run icoFoam; seconds of wall-clock time of its time loop (its own clock, start-up left out)."""
    return wait(start(folder), folder)


def start(folder: Path) -> subprocess.Popen:
    with open(folder / "log", "w") as log:
        return subprocess.Popen(["icoFoam"], cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT)


def wait(process: subprocess.Popen, folder: Path) -> float:
    if process.wait() != 0:
        raise RuntimeError(f"icoFoam failed in {folder}: {(folder / 'log').read_text()[-500:]}")
    found = RUN_SECONDS.findall((folder / "log").read_text())
    return float(found[-1]) - float(found[0])


def velocity(folder: Path, at: float, cells: int) -> np.ndarray:
    """(2, y, x) velocities on cell centres at a written time."""
    name = min((d.name for d in folder.iterdir() if _is_time(d.name)), key=lambda n: abs(float(n) - at))
    if abs(float(name) - at) > 1e-6 * max(at, 1):
        raise RuntimeError(f"{folder}: no time {at}, the nearest is {name}")
    content = (folder / name / "U").read_bytes()
    match = re.search(rb"nonuniform\s+List<vector>\s+(\d+)\s*\(", content)
    if match is None:
        raise RuntimeError(f"{folder}/{name}/U: no list of vectors")
    count = int(match[1])
    values = np.frombuffer(content, np.float64, 3 * count, match.end()).reshape(cells, cells, 3)
    return np.moveaxis(values[..., :2], -1, 0)


def _is_time(name: str) -> bool:
    try:
        return float(name) > 0
    except ValueError:
        return False
