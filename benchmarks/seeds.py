"""Other published systems on the package's interface, each against what it has to beat. Ledger `seeds`.

    python -m benchmarks.seeds [--part density ...] [--full]

Parts: `density` (density and velocity that satisfy the balance of mass by construction, from few measurements),
`refiner` (operators on trajectories, and answers refined by the residual), `prose` (one model of several problems that
reads equations), `stagger` (operators on interleaved coarse fields), `ode` (learned dynamics of modes of a cylinder's
wake), `sparse` (fields at any place and time from sparse sensors).

What takes long is kept in benchmarks/work/seeds, so that an interrupted run goes on. `--full` trains with three seeds
rather than one.
"""

from __future__ import annotations

import os

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured
PARTS = {
    "density": ("_seeds_density", "measure"),
    "prose": ("_seeds_prose", "measure"),
    "refiner": ("_seeds_refiner", "measure"),
    "stagger": ("_seeds_stagger", "measure"),
    "ode": ("_seeds_ode", "measure"),
    "sparse": ("_seeds_sparse", "measure"),
}


class Settings(Work):
    """What the parts share, for one set of arguments."""

    @property
    def full(self) -> bool:
        return bool(self.given.full)


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--full", action="store_true", help="three seeds rather than one")
    given = parsed(parser)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    measured("seeds", PARTS, given.part, Settings(given), dry=given.quick, threads=1)


if __name__ == "__main__":
    main()
