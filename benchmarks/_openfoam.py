"""Runs icoFoam of OpenFOAM on the lid-driven cavity: case files, runs and results on cell centres."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from sciml.solvers._foam_files import instants, internal, put
from sciml.solvers._foam_run import environment, version

__all__ = ["Cavity", "environment", "run", "velocity", "version", "write"]


@dataclass(frozen=True)
class Cavity:
    """A square cavity of side 1 m and lid speed 1 m/s.

    Args:
        time_scheme: of OpenFOAM's ddtSchemes: "Euler" (the tutorial's), "backward", "CrankNicolson 0.9".
        tolerance: of the pressure solver (absolute; the tutorial's is 1e-6, its final relative one 0).
        predictor: whether the momentum equation is solved before the pressure corrections.
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
    predictor: bool = True


def write(folder: Path, case: Cavity) -> None:
    """The case's dictionaries and its mesh."""

    write_file = partial(put, folder)
    write_file(
        "system/controlDict",
        "dictionary",
        f"""application icoFoam; startFrom startTime; startTime 0; stopAt endTime; endTime {case.end:.12g};
deltaT {case.time_step:.12g}; writeControl runTime; writeInterval {case.write_every:.12g}; purgeWrite 0;
writeFormat binary; writePrecision 12; writeCompression off; timeFormat general; timePrecision 8;
runTimeModifiable false;
""",
    )
    write_file(
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
    write_file(
        "system/fvSolution",
        "dictionary",
        f"""solvers {{
  p {{ solver {case.pressure}; {smoother} tolerance {case.tolerance:g}; relTol 0.05; }}
  pFinal {{ $p; relTol 0; }}
  U {{ solver smoothSolver; smoother symGaussSeidel; tolerance {case.tolerance / 10:g}; relTol 0; }}
}}
PISO {{ momentumPredictor {"yes" if case.predictor else "no"};
  nCorrectors {case.correctors}; nNonOrthogonalCorrectors 0; pRefCell 0; pRefValue 0; }}
""",
    )
    write_file("constant/transportProperties", "dictionary", f"nu [0 2 -1 0 0 0 0] {1 / case.reynolds:.12g};\n")
    write_file(
        "0/U",
        "volVectorField",
        """dimensions [0 1 -1 0 0 0 0];
internalField uniform (0 0 0);
boundaryField { lid { type fixedValue; value uniform (1 0 0); } walls { type noSlip; } sides { type empty; } }
""",
    )
    write_file(
        "0/p",
        "volScalarField",
        """dimensions [0 2 -2 0 0 0 0];
internalField uniform 0;
boundaryField { lid { type zeroGradient; } walls { type zeroGradient; } sides { type empty; } }
""",
    )
    for name, content in _mesh(case.cells).items():
        (folder / "constant" / "polyMesh").mkdir(exist_ok=True)
        (folder / "constant" / "polyMesh" / name).write_bytes(content)


@cache
def _mesh(n: int) -> dict[str, bytes]:
    """The files of a mesh of n × n cells: many runs share one, and making it takes longer than a short run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        put(folder, "system/controlDict", "dictionary", "startTime 0; endTime 1; deltaT 1; writeInterval 1;\n")
        put(
            folder,
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
        subprocess.run(["blockMesh"], cwd=folder, env=environment(), check=True, capture_output=True)
        return {path.name: path.read_bytes() for path in (folder / "constant" / "polyMesh").iterdir()}


def run(folder: Path, program: str = "icoFoam", core: int | None = None) -> float:
    """Run a solver; seconds of wall clock of its time loop alone: between the lines of its log that open the loop and
    close the last step, as they come through a pipe (it flushes both; its own clock is that of the processor).

    Args:
        core: to which the program is held, but not who reads its log; None for where this process is held.
    """
    with subprocess.Popen(
        [program], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        begun = ended = float("nan")
        last: deque[bytes] = deque(maxlen=10)
        for line in process.stdout or ():
            last.append(line)
            if line.startswith(b"Starting time loop"):
                begun = time.perf_counter()
            elif line.startswith(b"ExecutionTime"):
                ended = time.perf_counter()
    if process.returncode != 0:
        raise RuntimeError(f"{program} failed in {folder}: {b''.join(last).decode()}")
    return ended - begun


def velocity(folder: Path, at: float, cells: int) -> np.ndarray:
    """(2, y, x) velocities on cell centres at a written time."""
    written, place = min(((t, path) for t, path in instants(folder) if t > 0), key=lambda pair: abs(pair[0] - at))
    if abs(written - at) > 1e-6 * max(at, 1):
        raise RuntimeError(f"{folder}: no time {at}, the nearest is {place.name}")
    return np.moveaxis(internal(place / "U", cells * cells).reshape(cells, cells, 3)[..., :2], -1, 0)
