"""`sciml generate`: a data set of solved cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sciml.errors import InputError


def generate(
    problem: str = typer.Argument(
        ..., metavar="PROBLEM", help="Problem: cavity, cylinder, burgers, darcy, ...; all: the published flows."
    ),
    out: str = typer.Option(None, "--out", metavar="FILE", help="Data set file to write; a folder for all."),
    cases: int = typer.Option(None, "--cases", metavar="N", help="Cases in all; those of the profile if left out."),
    fraction: float = typer.Option(None, "--fraction", metavar="SHARE", help="Share of all cases, chosen evenly."),
    subset: str = typer.Option(None, "--subset", metavar="NAMES", help="Subsets, as bc,prop,geo,ic of the cavity."),
    frames: int = typer.Option(None, "--frames", metavar="N", help="Frames of every case."),
    resolution: str = typer.Option(
        None, "--resolution", metavar="N", help="Cells along each side, or along y,x or z,y,x: 16,33,16."
    ),
    profile: str = typer.Option(None, "--profile", help="Parameter axes (cavity: resolved or published)."),
    seed: int = typer.Option(0, "--seed", help="Seed of random cases and of the splits."),
    solver: str = typer.Option(None, "--solver", metavar="NAME", help="Solver; the problem's own if left out."),
    scheduler: str = typer.Option(
        "local", "--scheduler", metavar="ADDRESS", help="local, or a Dask scheduler's address."
    ),
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Other than the design says: problem.drive=flow_rate, case.viscosity=1/395, solver.closure=WALE(), "
            "times.start=8; repeatable.",
        ),
    ] = None,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
    plan: bool = typer.Option(False, "--plan", help="Only say what would be made, and about what it costs."),
    as_json: bool = typer.Option(False, "--json", help="Print what was made as JSON."),
) -> None:
    """Solve cases of a problem and write them to a data set file. An interrupted command goes on where it stopped."""
    from sciml.cli import _arguments, _show

    for name, value, least in (("--cases", cases, 1), ("--frames", frames, 1)):
        _arguments.at_least(name, value, least)
    counts = _counts(resolution)
    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    if fraction is not None and (not 0 < fraction <= 1 or cases is not None):
        raise InputError(f"--fraction: expected a number in (0, 1], and no --cases beside it, got {fraction:g}")
    if out is None and not plan:
        raise InputError("--out is missing: expected the file to write, or --plan")
    from sciml import registry
    from sciml.solvers.generation import prepare, published_flows

    profile = "published" if problem == "all" and profile is None else profile
    families = [registry.problems.get(p) for p in (published_flows() if problem == "all" else [problem])]
    for family in families:
        if profile is not None:
            _arguments.choice("--profile", profile, family.design().profiles)
    if solver is not None:
        registry.solvers.get(solver)
    options = {
        "cases": cases, "fraction": fraction, "subset": subset, "frames": frames, "resolution": counts,
        "solver": solver, "profile": profile,
    }  # fmt: skip
    given = {k: v for k, v in options.items() if v is not None} | {"seed": seed}
    chosen = {family.name: _chosen(family, given, changes or []) for family in families}
    if plan:
        plans = [prepare(family.name, **chosen[family.name]).plan() for family in families]
        if as_json:
            _show.print_json([p.to_dict() for p in plans])
        else:
            for each in plans:
                print(each)
        return
    many = problem == "all"
    targets = [str(Path(out) / f"{family.name}.h5") if many else out for family in families]
    told: list[Any] = []
    work: list[Any] = [None]
    if many:  # refused before all is computed
        work = [prepare(family.name, **chosen[family.name]) for family in families]
    for family, path, todo in zip(families, targets, work, strict=True):
        if todo is not None and _made(path, todo.digest):  # the same command goes on
            _show.note(f"{path} is there")
            continue
        target = _arguments.new_file("--out", path, overwrite)
        mine = chosen[family.name]
        made = run_generation(family.name, target, scheduler=scheduler, overwrite=overwrite, **mine)
        told.append(made.to_dict() | {"bytes": target.stat().st_size})
        if not as_json:
            _show.note(f"{made} ({_show.size(target.stat().st_size)}, {made.seconds:.3g} s)")
    if as_json:
        _show.print_json(told if many else told[0])


def _chosen(family: Any, given: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """What is asked of one problem: `given`, and what `--set` says."""
    if not texts:
        return given
    from sciml import registry
    from sciml.cli import _choices
    from sciml.solvers.references import reference

    design = family.design()
    profile = given.get("profile", design.profiles[0])

    def solver_of(problem: Any) -> Any:
        if "solver" in given:
            return registry.solvers.get(given["solver"])
        counts = given.get("resolution", 64)
        several = counts if isinstance(counts, tuple) else (counts,) * problem.dimensions
        found = reference(problem, several) if len(several) == problem.dimensions else None
        return None if found is None else type(found)

    return given | _choices.read(design.posed(family(), profile), solver_of, texts)


def _counts(given: str | None) -> int | tuple[int, ...] | None:
    """`--resolution`: one count, or several with commas.

    Raises:
        InputError: something else, or fewer than 4 cells along some axis.
    """
    from sciml.cli import _arguments

    if given is None:
        return None
    try:
        counts = tuple(int(n) for n in given.split(","))
    except ValueError:
        raise InputError(
            f"--resolution: expected a whole number, or several as 16,33,16 along z,y,x, got {given!r}"
        ) from None
    for n in counts:
        _arguments.at_least("--resolution", n, 4)
    return counts[0] if len(counts) == 1 else counts


def _made(path: str, digest: str) -> bool:
    """Whether a file is what the same request has made before."""
    import sciml.data

    if not Path(path).is_file():
        return False
    with sciml.data.open(path) as found:
        return found.attrs.get("request") == digest


def run_generation(problem: str, out: Path, **options: Any) -> Any:
    """Generate, and return the summary; the folder of the file is made if missing."""
    from sciml.cli import _arguments
    from sciml.solvers.generation import generate as solve_all

    if isinstance(options.get("subset"), str):
        options["subset"] = _arguments.names("--subset", options["subset"])
    made = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return solve_all(problem, out, **options)
    except InputError:
        for folder in made:  # what is refused leaves no empty folders behind
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def summary(path: Any, subsets: list[str] | None = None) -> dict[str, Any]:
    """Return what a data set file, or some subsets of it, hold, in a few numbers."""
    import numpy as np

    import sciml.data
    from sciml.data import schema

    with sciml.data.open(path) as found:
        status = schema.flag_names(found["status"]) if "status" in found else np.array(["ok"] * found.sizes["case"])
        of = np.ones(len(status), bool) if subsets is None else np.isin(schema.flag_names(found["subset"]), subsets)
        return {
            "path": str(path),
            "problem": found.attrs["problem"],
            "cases": int(of.sum()),
            "frames": int(found["row_size"].values[of].sum()),
            "failed": int(np.sum(status[of] != "ok")),
            "bytes": path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*")),
        }
