"""A study from its source to its page, in stages that are skipped where they are done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sciml.errors import FileFormatError, InputError, TrainingError
from sciml.studies._config import Config, read, to_toml
from sciml.studies._look import Look, look
from sciml.studies._split import AsGiven, Split, by_logarithm, suited
from sciml.studies._stages import Stages, remove_run

RECORD, SETTINGS, DATA, IMPORTED, PAGE = "study.json", "study.toml", "data.h5", "imported.h5", "report.html"

FEWEST = 100  # steps of a training by the clock below which it says little

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study came to.

    Args:
        folder: where everything is: data.h5, study.toml, runs/NAME, report.html, study.json.
        data: the data set file; None where nothing could be learned.
        runs: name -> folder of each model.
        table: a row each: "row", "kind" (surrogate, baseline or reference), "error" (NMSE of rollouts, the mean over
            their steps), "last" (of the last step), "seconds_per_step".
        verdict: whether any model beats what needs no training, in a sentence or two.
        tone: "good", "mixed", "poor", or "plain" where nothing was held against anything.
        look: what the data are.
        notes: what was assumed, not understood, or looks odd.
        stages: name -> {"seconds", "skipped"}.
        page: the report.
    """

    folder: Path
    data: Path | None
    runs: Mapping[str, Path]
    table: tuple[Mapping[str, Any], ...]
    verdict: str
    tone: str
    look: Look
    notes: tuple[str, ...]
    stages: Mapping[str, Mapping[str, Any]]
    page: Path

    def __str__(self) -> str:
        rows = [f"{r['row']:<30} {r['kind']:<10} {r['error']:.3g}" for r in self.table if r["error"] is not None]
        return "\n".join([*rows, self.verdict])


def run(config: Config, models: Mapping[str, Any], folder: Path, overwrite: bool = False, tell: Tell | None = None,
        settings: Path | None = None) -> Study:  # fmt: skip
    """Do all that is left to do.

    Args:
        models: name -> what is trained; none for what the data call for.
        settings: the file that the configuration came from, which is left as it is.

    Raises:
        InputError, FileFormatError: a source that cannot be read, or nothing that takes the data.
        TrainingError: every training failed.
    """
    say = tell or (lambda text: None)
    source = _source(config.source)
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"out: {folder} lies in {source}, which is to be read; expected a folder elsewhere")
    if not source.exists() and not (folder / RECORD).exists():
        raise InputError(f"source: {source} does not exist, expected a data set file or something to import")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: {folder} cannot be made ({error.strerror or error})") from None
    stages = Stages(folder / RECORD, overwrite, say, within="stages")
    work = _Work(config, folder, stages, say)
    found = work.look()
    if not work.split(found):
        work.tell_why(found)
        return work.result(found, {})
    chosen = work.choose(models)
    work.write_settings(chosen, settings)
    runs = work.train(chosen)
    work.report(found, runs, chosen)
    return work.result(found, runs)


class _Work:
    """The stages of one study."""

    def __init__(self, config: Config, folder: Path, stages: Stages, say: Tell):
        self.config, self.folder, self.stages, self.say = config, folder, stages, say
        self.data, self.page = folder / DATA, folder / PAGE
        self.content = stages.content
        self.source = _source(config.source)
        self.key: dict[str, Any] = {
            "source": _identity(self.source, self.content), "layout": config.layout, "seed": config.seed,
            "plan": None if config.plan is None else _text(config.plan),
        }  # fmt: skip
        before = self.content.get("source") or {}
        self.ours = _is_ours(self.source) if self.source.exists() else bool(before.get("ours"))
        self.content["source"] = {"path": str(self.source), "identity": self.key["source"], "ours": self.ours}

    # -- data ---------------------------------------------------------------------------------------------------

    def imported(self) -> Path:
        """The source as a data set file."""
        if self.ours:
            return self.source
        target = self.folder / IMPORTED
        if "import" in self.stages.times:  # in this run
            return target
        self.stages.run("import", self.key, [target], lambda: self._import(target))
        return target

    def _import(self, target: Path) -> None:
        from sciml.data import importers

        plan = None if self.config.plan is None else importers.Plan.read(self.config.plan)
        before = 0.0

        def progress(done: int, count: int) -> None:
            nonlocal before
            if time.monotonic() - before > 5:
                before = time.monotonic()
                self.say(f"  case {done} of {count}")

        made = importers.import_data(
            self.source, target, layout=self.config.layout, plan=plan, seed=self.config.seed, overwrite=True,
            tell=progress,
        )  # fmt: skip
        self.content["import"] = {"layout": made.layout, "title": made.title, "cases": made.cases}
        self.content["notes"] = list(made.notes)
        self.say(f"  {made.title}: {made.cases} case{'s' if made.cases != 1 else ''}")
        for note in made.notes:
            self.say(f"  note: {note}")

    def look(self) -> Look:
        """What the data are, from the file itself where that was not looked at before."""
        from sciml import data

        def work() -> None:
            with data.open(self._present()) as dataset:
                found = look(dataset)
            self.content["look"] = found.to_json()
            for line in found.lines:
                self.say(line)

        if self.source.exists():
            self._present()
        self.stages.run("look", self.key, [], work)
        return Look.from_json(self.content["look"])

    def _present(self) -> Path:
        if not self.source.exists() and not (self.folder / IMPORTED).exists():
            raise InputError(f"source: {self.source} does not exist, expected a data set file or something to import")
        return self.imported()

    def split(self, found: Look) -> bool:
        """Write the data set with its split; whether there is one."""
        from sciml import data

        chosen, reasons = suited(found)
        if self.config.split not in (None, chosen):
            chosen, reasons = self.config.split, ["The split is the one that was asked for."]
        self.content["split"] = None if chosen is None else chosen.to_json()
        if chosen is None:
            self.data.unlink(missing_ok=True)
            self.content["reasons"] = reasons
            return False

        told = tuple(found.logarithmic) if self.config.logarithmic is None else self.config.logarithmic
        self.content["logarithmic"] = list(told)
        if told:
            are = "is" if len(told) == 1 else "are"
            reasons = [
                *reasons,
                f"Models are told the logarithm of {', '.join(told)}, which {are} spread over decades.",
            ]

        def work() -> None:
            path = self._present()
            with data.open(path) as dataset:
                made, notes = chosen.apply(dataset, found.unusable, self.config.seed)
                self.content["reasons"] = [*reasons, *notes]
                self.data.unlink(missing_ok=True)
                made = by_logarithm(made, told)
                whole = isinstance(chosen, AsGiven) and not notes and not found.unusable and not told
                if whole and path.suffix in (".h5", ".nc"):
                    _linked(path, self.data)
                else:
                    data.write(made, self.data)
            for text in self.content["reasons"]:
                self.say(f"  {text}")

        self.stages.run("split", self._data_key, [self.data], work)
        return True

    # -- models -------------------------------------------------------------------------------------------------

    @property
    def _data_key(self) -> dict[str, Any]:
        return self.key | {"split": self.content["split"], "logarithmic": self.content["logarithmic"]}

    def choose(self, given: Mapping[str, Any]) -> dict[str, Any]:
        from sciml.studies._candidates import model_of
        from sciml.studies._choosing import choose

        if given:
            self.content["tried"] = [t for t in self.content.get("tried") or [] if set(self._chosen()) == set(given)]
            return dict(given)
        c = self.config
        key = self._data_key | {
            "minutes": c.minutes, "length": None if c.length is None else c.length.to_json(), "steps": c.steps,
            "operators": list(c.operators),
        }  # fmt: skip

        def work() -> None:
            pieces = Split.from_json(self.content["split"]).pieces_of_trajectories
            models, tried = choose(self.data, c, pieces, self.say)
            self.content["models"] = {n: m.to_json() for n, m in models.items()}
            self.content["tried"] = [t.to_json() for t in tried]
            self.say(f"  chosen: {', '.join(models)}")

        self.stages.run("choose", key, [], work)
        return {n: model_of(m) for n, m in self.content["models"].items()}

    def _chosen(self) -> list[str]:
        return list(self.content.get("models") or {})

    def write_settings(self, models: Mapping[str, Any], source: Path | None) -> None:
        """The settings file; one that somebody edited is kept beside it, unless it is what was asked for."""
        split: Any = self.content["split"]
        settled = {"source": str(self.source), "split": split, "logarithmic": self.content["logarithmic"]}
        config = Config.from_json(self.config.to_json() | settled)
        path, text = self.folder / SETTINGS, to_toml(config, models)
        if path.exists():
            before = path.read_text(encoding="utf-8")
            if source is not None and source.resolve() == path.resolve():
                try:
                    now, its = read(path)
                except (InputError, FileFormatError):
                    now, its = None, {}
                if now is not None and its == dict(models):
                    return
            if before == text:
                return
            if _digest(before) != self.content.get("settings_digest"):
                shutil.copyfile(path, path.with_suffix(".edited.toml"))
                self.say(f"  {path.name} was edited; it is kept as {path.stem}.edited.toml (to use it: --config)")
        from sciml.reporting._files import write_text

        write_text(path, text)
        self.content["settings_digest"] = _digest(text)
        self.stages.write()

    def train(self, models: Mapping[str, Any]) -> dict[str, Path]:
        from sciml.studies._candidates import Fitted, Trained
        from sciml.studies._side_by_side import Run, train

        runs, todo, failed = {}, {}, {}
        for name, model in models.items():
            out = self.folder / "runs" / name
            key = self._data_key | {"model": model.to_json()}
            runs[name] = out
            if not self.stages.begin(f"train {name}", key, [out / "config.json"]):
                continue
            if self.stages.fresh and out.is_dir():
                remove_run(out)
            if isinstance(model, Trained):
                todo[name] = Run(model.plan, self.data, out, self.config.device)
                continue
            assert isinstance(model, Fitted)
            began = time.monotonic()
            try:
                model.fit(self.data, out)
            except InputError as error:
                failed[name] = str(error)
            else:
                self.stages.end(f"train {name}", time.monotonic() - began)
        seconds = train(todo, failed=failed)
        for name in todo:
            if name not in failed:
                self.stages.end(f"train {name}", seconds[name])
        self.content["failed"] = failed
        self.content["short"] = {n: made for n, p in runs.items() if 0 < (made := _steps_of(p)) < FEWEST}
        for name, made in self.content["short"].items():
            self.say(f"  {name} made only {_steps(made)} in its time; more minutes would tell more of it")
        for name, why in failed.items():
            self.say(f"  {name} failed: {why}")
        runs = {n: p for n, p in runs.items() if n not in failed}
        if not runs:
            raise TrainingError(f"study: every training failed; {next(iter(failed.values()))}")
        return runs

    # -- page ---------------------------------------------------------------------------------------------------

    def report(self, found: Look, runs: Mapping[str, Path], models: Mapping[str, Any]) -> None:
        key = self._data_key | {
            "models": {n: models[n].to_json() for n in runs}, "steps": self.config.steps,
            "trained": {n: _text(p / "config.json") for n, p in runs.items()},
        }  # fmt: skip
        key["trained"] = _digest(repr(key["trained"]))
        self.stages.run("evaluate and report", key, [self.page], lambda: self._report(found, list(runs.values())))

    def _report(self, found: Look, runs: list[Path]) -> None:
        import shlex

        from sciml.reporting import compare
        from sciml.reporting.results import results
        from sciml.reporting.sections import build
        from sciml.studies import _page

        study = compare(
            [str(r) for r in runs], str(self.data), details=True, steps=self.config.steps, device=self.config.device,
            reference=False,  # which may take longer than all the rest; `sciml report` has it
            tell=lambda text: self.say(f"  {text}"),
        )  # fmt: skip
        command = shlex.join(["sciml", "study", "--config", str(self.folder / SETTINGS)])
        study = dataclasses.replace(study, command=command)
        self.content["results"] = results(study)
        self.content["table"] = _table(study)
        _page.write(_page.with_study(build(study), found, self.content), self.page)

    def tell_why(self, found: Look) -> None:
        """The page where there is nothing to train on."""
        from sciml.studies import _page

        for text in self.content["reasons"]:
            self.say(f"  {text}")
        self.content |= {"results": None, "table": [], "tried": [], "models": {}}
        self.stages.run("report", self.key, [self.page],
                        lambda: _page.write(_page.without_models(found, self.content), self.page))  # fmt: skip

    def result(self, found: Look, runs: Mapping[str, Path]) -> Study:
        results = self.content.get("results") or {}
        verdict = str(results.get("verdict") or " ".join(self.content["reasons"][:1]))
        notes = [*self.content.get("notes", []), *found.odd, *self.content["reasons"]]
        self.stages.write()
        return Study(
            self.folder, self.data if runs else None, dict(runs), tuple(self.content.get("table") or ()), verdict,
            str(results.get("tone", "plain")), found, tuple(notes), dict(self.stages.times), self.page,
        )  # fmt: skip


def _table(study: Any) -> list[dict[str, Any]]:
    import numpy as np

    rows = []
    for model, kind in study.models:
        growth = study.rollout_of(model)
        last = float(growth[:, -1].mean()) if growth.size else float("nan")
        values = {"error": study.score(model), "last": last, "seconds_per_step": study.cost(model)}
        rows.append({"row": model, "kind": kind} | {k: v if np.isfinite(v) else None for k, v in values.items()})
    return sorted(rows, key=lambda r: float("inf") if r["error"] is None else r["error"])


def _steps(count: int) -> str:
    return "one step" if count == 1 else f"{count} steps"


def _steps_of(run: Path) -> int:
    """How many steps a trained model has made; 0 where that is no measure of it, or not known."""
    try:
        training = json.loads((run / "config.json").read_text(encoding="utf-8")).get("training") or {}
    except (OSError, ValueError):
        return 0
    length = (training.get("recipe") or {}).get("length") or {}
    return int(training.get("steps") or 0) if length.get("kind") == "Minutes" else 0


def _source(path: str) -> Path:
    if not path:
        raise InputError("study: expected a file or folder to study, got none")
    return Path(os.path.abspath(os.path.expanduser(path)))


def _is_ours(path: Path) -> bool:
    """Whether it is a data set of this package."""
    from sciml import data

    if path.suffix not in (".h5", ".nc", ".zarr", ".hdf5") or not path.exists():
        return False
    try:
        data.open(path).close()
    except (FileFormatError, InputError):
        return False
    return True


def _identity(path: Path, content: Mapping[str, Any]) -> str:
    """What tells whether a source has changed: names, sizes and times of its files. That of a source that is gone is
    what it was."""
    if not path.exists():
        before = content.get("source") or {}
        if before.get("path") == str(path):
            return str(before["identity"])
        raise InputError(f"source: {path} does not exist, expected a data set file or something to import")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    facts = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return _digest(repr([str(path), facts]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(path: str | Path) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: cannot be read as text") from None


def _linked(source: Path, target: Path) -> None:
    """The same file under another name: without a copy where the file system can."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        part = target.with_suffix(".part")
        shutil.copyfile(source, part)
        os.replace(part, target)
