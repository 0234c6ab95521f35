"""`sciml data`: choose from data sets, join and split them, and see that a test is one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sciml.errors import InputError

app = typer.Typer(no_args_is_help=True)

_FILE = typer.Argument(..., metavar="FILE", help="Data set file.")
_OUT = typer.Option(..., "--out", metavar="FILE", help="Data set file to write; may be the one that is read.")
_OVERWRITE = typer.Option(False, "--overwrite", help="Replace the file of --out if it exists.")
_JSON = typer.Option(False, "--json", help="Print the outcome as JSON.")
_SEED = typer.Option(0, "--seed", help="Seed of the shuffle.")


@app.callback()
def root() -> None:
    """Choose from data sets, join and split them, and see that a test is one."""


@app.command()
def select(
    file: str = _FILE,
    out: str = _OUT,
    cases: str = typer.Option(None, "--cases", metavar="A:B|N,M", help="Numbers of cases: 0:10, 0:100:5 or 3,1,7."),
    subset: str = typer.Option(None, "--subset", metavar="NAMES", help="Subsets, separated by commas."),
    split: str = typer.Option(None, "--split", metavar="NAMES", help="Splits, as train,validation or fold_1/test."),
    where: str = typer.Option(None, "--where", metavar="CONDITION", help="As 'viscosity > 0.01 and 1 <= speed < 2'."),
    fields: str = typer.Option(None, "--fields", metavar="NAMES", help="Fields to keep, separated by commas."),
    frames: str = typer.Option(None, "--frames", metavar="A:B|N,M", help="Frames of every case: 0:10, ::2 or 0,5."),
    times: str = typer.Option(None, "--times", metavar="A:B", help="First and last time, both included."),
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Write a part of a data set: the cases for which all that is given holds, with some frames and fields."""
    from sciml import data
    from sciml.cli import _arguments, _show

    source, target = _arguments.readable_data("FILE", file), _arguments.new_file("--out", out, overwrite)
    made = data.select(
        source, _numbers("--cases", cases), subset=_names("--subset", subset), split=_names("--split", split),
        where=where, fields=_names("--fields", fields), frames=_numbers("--frames", frames), times=_times(times),
        out=target, progress=_show.watched(),
    )  # fmt: skip
    _tell(made, target, as_json)


@app.command()
def merge(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Data set files of one problem.")],
    out: str = typer.Option(..., "--out", metavar="FILE", help="Data set file to write."),
    names: str = typer.Option(None, "--names", metavar="NAMES", help="Of the files; their subsets are named by them."),
    fractions: str = typer.Option(None, "--fractions", metavar="A,B,C", help="Split anew; kept if left out."),
    seed: int = _SEED,
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Join data sets of one problem in one file."""
    from sciml import data
    from sciml.cli import _arguments, _show

    sources = [_arguments.readable_data("FILE", file) for file in files]
    target = _arguments.new_file("--out", out, overwrite)
    made = data.merge(
        sources, names=_names("--names", names), fractions=_shares(fractions), seed=seed, out=target,
        progress=_show.watched(),
    )  # fmt: skip
    _tell(made, target, as_json)


@app.command()
def split(
    file: str = _FILE,
    out: str = _OUT,
    fractions: str = typer.Option(
        None, "--fractions", metavar="A,B,C", help="Shares of train, validation and test; 0.8,0.1,0.1 if left out."
    ),
    by: str = typer.Option(None, "--by", metavar="NAMES", help="Cases that agree in these parameters stay together."),
    folds: int = typer.Option(None, "--folds", metavar="K", help="Instead, the folds of a cross-validation."),
    manifest: str = typer.Option(None, "--manifest", metavar="FILE", help="Instead, the splits of a manifest."),
    seed: int = _SEED,
    plain: bool = typer.Option(False, "--plain", help="Shares of all cases, rather than of every subset."),
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Split a data set anew, by case."""
    from sciml import data
    from sciml.cli import _arguments, _show

    source, target = _arguments.readable_data("FILE", file), _arguments.new_file("--out", out, overwrite)
    known = None if manifest is None else _arguments.readable_file("--manifest", manifest)
    made = data.split(
        source, _shares(fractions), by=_names("--by", by), folds=folds, manifest=known, seed=seed, stratify=not plain,
        out=target, progress=_show.watched(),
    )  # fmt: skip
    _tell(made, target, as_json)


@app.command()
def manifest(
    file: str = _FILE,
    out: str = typer.Option(None, "--out", metavar="FILE", help="Manifest to write, as JSON."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file of --out if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print the manifest as JSON."),
) -> None:
    """Say by digests which cases a data set holds and how they are split, so that others can check theirs."""
    from sciml.cli import _arguments, _show
    from sciml.data import splits

    source = _arguments.readable_data("FILE", file)
    target = None if out is None else _arguments.new_file("--out", out, overwrite)
    made = splits.manifest(source, progress=_show.watched())
    if target is not None:
        made.save(target)
    if as_json:
        _show.print_json(made.to_json())
        return
    counts = ", ".join(f"{n} {s}" for s, n in made.counts().items())
    print(f"{made.digest}  {len(made.cases)} cases ({counts})")
    if target is not None:
        _show.note(f"{target}: written")


@app.command()
def check(
    file: str = _FILE,
    manifest: str = typer.Option(None, "--manifest", metavar="FILE", help="Manifest that the file should agree with."),
    split: str = typer.Option("split", "--split", metavar="NAME", help="Which splits, as split_fold_0."),
    tolerance: float = typer.Option(1e-5, "--tolerance", metavar="X", help="What rounding may leave, relative."),
    as_json: bool = _JSON,
) -> None:
    """Look for cases that occur twice and for what is odd. Exit status 1 if splits overlap or the manifest differs."""
    from sciml.cli import _arguments, _show
    from sciml.data import splits, validate

    source = _arguments.readable_data("FILE", file)
    known = None if manifest is None else splits.Manifest.load(_arguments.readable_file("--manifest", manifest))
    validate(source)
    content = splits.content(source, progress=_show.watched())
    found = splits.overlaps(content, tolerance, split)
    odd = splits.oddities(content)
    mine = splits.manifest(content)
    differs = None if known is None else known.check(mine)
    across = [o for o in found if o.across]
    sound = not across and (differs is None or differs.same)
    if as_json:
        _show.print_json({
            "path": str(source), "cases": content.count, "sha256": mine.digest, "sound": sound,
            "overlaps": [{"kind": o.kind, "cases": o.cases, "splits": o.splits, "across": o.across} for o in found],
            "odd": odd, "manifest": None if differs is None else {"same": differs.same, "differs": differs.lines()},
        })  # fmt: skip
    else:
        _list([f"{'splits overlap' if each.across else 'twice'}: {each}" for each in found])
        _list([f"odd: {line}" for line in odd])
        if differs is not None:
            _list([f"manifest: {line}" for line in differs.lines() or ["the same cases, split alike"]])
        within = f", {len(found) - len(across)} within one" if len(found) > len(across) else ""
        _show.note(f"{source}: {content.count} cases, {len(across)} overlaps across splits{within}")
    if not sound:
        raise typer.Exit(1)


def _list(lines: list[str], most: int = 40) -> None:
    """The first lines; --json has them all."""
    for line in lines[:most]:
        print(line)
    if len(lines) > most:
        print(f"{lines[0].partition(':')[0]}: {len(lines) - most} more (--json lists all)")


def _tell(made: Any, target: Path, as_json: bool) -> None:
    """Say what was written."""
    from collections import Counter

    from sciml.cli import _show
    from sciml.cli.generate import summary
    from sciml.data import schema

    found = summary(target)
    for name in ("split", "subset"):
        if name in made.variables:
            count = Counter(schema.flag_names(made[name]).tolist())
            found[f"{name}s"] = {k: count[k] for k in str(made[name].attrs["flag_meanings"]).split() if count[k]}
    made.close()
    if as_json:
        _show.print_json(found)
        return
    parts = ", ".join(f"{n} {s}" for s, n in found.get("splits", {}).items()) or "not split"
    _show.note(f"{target}: {found['cases']} cases ({parts}), {found['frames']} frames, {_show.size(found['bytes'])}")


def _names(argument: str, text: str | None) -> list[str] | None:
    from sciml.cli import _arguments

    return None if text is None else _arguments.names(argument, text)


def _shares(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--fractions: expected three numbers separated by commas, got {text!r}") from None


def _numbers(argument: str, text: str | None) -> slice | list[int] | None:
    """Whole numbers: A:B, A:B:STEP or N,M,..."""
    if text is None:
        return None
    try:
        if ":" not in text:
            return [int(word) for word in text.split(",")]
        parts = [int(word) if word.strip() else None for word in text.split(":")]
        if len(parts) > 3 or parts[2:] == [0]:
            raise ValueError
        return slice(*parts)
    except ValueError:
        raise InputError(f"{argument}: expected whole numbers as 0:10, 0:10:2 or 1,3,5, got {text!r}") from None


def _times(text: str | None) -> tuple[float | None, float | None] | None:
    if text is None:
        return None
    try:
        low, high = (float(word) if word.strip() else None for word in text.split(":"))
    except ValueError:
        raise InputError(f"--times: expected the first and the last one as 0.5:2, got {text!r}") from None
    return low, high
