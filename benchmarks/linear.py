"""Linear solvers, classical and learned: set-up, solve, iterations, memory, and their gain in whole simulations.
Ledger `linear`.

    python -m benchmarks.linear [--part grid ...] [--full] [--rhs 5] [--threads 2] [--minutes 20] [--data FOLDER]

Parts: `checks` (what holds for any network), `grid` (constant, jumping, log-normal coefficients and obstacles, to 256²
and 64³, `--full` to 1024² and with 20 right-hand sides), `moving` (obstacles that move, jumps; the learned multigrid
against the fastest classical row), `growth` (iterations from 64² to 1024²), `meshes` (finite elements, matrices of
pyamg and of `--data`), `use` (in the flow solvers, with warm starts), `starts`, `starts_more_cells` and
`starts_two_fluids` (where pressure solves begin within the flow solvers), `graphs` (the convergent graph solver on
networks), `dcdm` (deep conjugate directions, trained for `--minutes`).

What is trained or recorded is kept in benchmarks/work/linear, so that an interrupted run goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured; the most telling ones first
PARTS = {
    "checks": ("_linear_checks", "measure"),
    "grid": ("_linear_grid", "measure"),
    "moving": ("_linear_grid", "moving"),
    "growth": ("_linear_grid", "growth"),
    "meshes": ("_linear_meshes", "measure"),
    "use": ("_linear_use", "measure"),
    "starts": ("_linear_starts", "of_one_fluid"),
    "starts_more_cells": ("_linear_starts", "on_more_cells"),
    "starts_two_fluids": ("_linear_starts", "of_two_fluids"),
    "graphs": ("_linear_graphs", "measure"),
    "dcdm": ("_linear_dcdm", "measure"),
}


class Settings(Work):
    """What the parts share, for one set of arguments."""

    @property
    def full(self) -> bool:
        return bool(self.given.full)

    @property
    def rhs(self) -> int:
        """Right-hand sides of a system."""
        return self.given.rhs or (2 if self.quick else 20 if self.full else 5)

    @property
    def threads(self) -> int:
        return int(self.given.threads)

    @property
    def minutes(self) -> float:
        """Of training."""
        return float(self.given.minutes)

    @property
    def pores(self) -> Path | None:
        """Networks of pores."""
        return None if self.data is None else self.data / "pore_networks" / "Berea_sandstone"


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--full", action="store_true", help="to 1024², with 20 right-hand sides")
    parser.add_argument("--rhs", type=int, default=None, help="right-hand sides of a system")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="2 for rows on two threads, too")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training of a network")
    given = parsed(parser)
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    measured("linear", PARTS, given.part, Settings(given), dry=given.quick, threads=given.threads, packages=("pyamg",))
    if not given.quick:
        from benchmarks import _linear_pictures

        _linear_pictures.draw()


if __name__ == "__main__":
    main()
