"""Networks that solve equations: accuracy, cost, coefficients found, flows of COMSOL's. Ledger `physics`.

    python -m benchmarks.physics [--part burgers ...] [--seeds 3] [--deepxde PYTHON] [--comsol FOLDER] [--quick]

Parts: `burgers` (error against Cole-Hopf over seeds; seconds of one core to DeepXDE's own least error), `allen_cahn`,
`advection`, `inverse` (both coefficients of Burgers from noisy values), `lagrangian` (fast transport), `comsol` (flows
that COMSOL has solved), `losses` (operators that are trained with equations), `residuals` (all that says what an
equation leaves of a function), `ablation`.

`--deepxde` names the Python of an environment that has DeepXDE; its runs are kept in benchmarks/work/physics, and those
that are there count without it. `--comsol` names a folder of PINNacle's COMSOL files. Each training is kept as soon as
it is done, so that an interrupted run goes on. One core, float64; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks._ledger import WORK
from benchmarks._parts import measured

#: part -> (module, function); each is imported when it is measured
PARTS = {
    "residuals": ("_physics_residuals", "measure"),
    "burgers": ("_physics_forward", "measure_burgers"),
    "allen_cahn": ("_physics_forward", "measure_allen_cahn"),
    "advection": ("_physics_forward", "measure_advection"),
    "inverse": ("_physics_inverse", "measure"),
    "lagrangian": ("_physics_lagrangian", "measure"),
    "comsol": ("_physics_comsol", "measure"),
    "losses": ("_physics_losses", "measure"),
    "ablation": ("_physics_forward", "measure_ablation"),
}


class Work:
    """What the parts share, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.folder: Path = WORK / "physics" / ("quick" if given.quick else "")

    @cached_property
    def runs(self) -> Any:
        from benchmarks._physics_runs import Runs

        return Runs(dry=self.given.quick)

    def seeds(self, usual: int) -> int:
        return 1 if self.given.quick else self.given.seeds or usual

    def setting(self, setting: Any) -> Any:
        from benchmarks._physics_forward import quick

        return quick(setting) if self.given.quick else setting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts alone")
    parser.add_argument("--seeds", type=int, help="as many, rather than each part's own number")
    parser.add_argument("--deepxde", type=Path, help="Python of an environment that has DeepXDE")
    parser.add_argument("--comsol", type=Path, help="folder of PINNacle's COMSOL files")
    parser.add_argument("--case", nargs="+", help="these cases of the part `comsol` alone")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    dry = given.quick or given.seeds is not None or given.case is not None
    measured("physics", PARTS, given.part, Work(given), dry=dry, threads=1, packages=("equinox", "optax"))


if __name__ == "__main__":
    main()
