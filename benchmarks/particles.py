"""Matter that is followed by particles: the material-point method, learned operators, control. Ledger `particles`.

    python -m benchmarks.particles [--part checks ...] [--minutes 4] [--seeds 3] [--materials water ...] [--warp PYTHON]

Parts, the most telling first: `checks` (conservation, wave speed, pressure at rest, run-out of grains, angle of repose,
yield stress), `learned` (operators on four materials at equal training time, rollouts over 100 steps), `scale` (what
costs what at 100,000 points), `control` (a plate that pushes a heap to a goal: gradients, and methods without),
`throughput` (particles a second beside NVIDIA Warp; `--warp` names the Python of an environment that has warp-lang).

Data and trained models are kept in benchmarks/work/particles, so that an interrupted run goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured
PARTS = {
    "checks": ("_particles_checks", "measure"),
    "learned": ("_particles_learned", "measure"),
    "scale": ("_particles_scale", "measure"),
    "control": ("_particles_control", "measure"),
    "throughput": ("_particles_throughput", "measure"),
}


class Settings(Work):
    """What the parts share, for one set of arguments."""

    @property
    def minutes(self) -> float:
        """Of a training, on one core."""
        return float(self.given.minutes)

    @property
    def seeds(self) -> int:
        """Runs of the best row of each material."""
        return int(self.given.seeds)

    @property
    def materials(self) -> tuple[str, ...]:
        """Those that operators are trained on; () for all."""
        return tuple(self.given.materials)

    @property
    def warp(self) -> Path | None:
        """The Python of an environment with warp-lang."""
        return self.given.warp


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--minutes", type=float, default=4.0, help="of a training, on one core")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the best row of each material")
    parser.add_argument("--materials", nargs="+", default=(), help="that operators are trained on; all by default")
    parser.add_argument("--warp", type=Path, default=None, help="Python of an environment that has warp-lang")
    given = parsed(parser)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    measured("particles", PARTS, given.part, Settings(given), dry=given.quick, threads=1)


if __name__ == "__main__":
    main()
