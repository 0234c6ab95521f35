"""Training from files: this package's way beside that of CFDBench's code, made anew from its description.

The published way, per problem: every case's u and v are read, a mask is laid beside each frame, each pair of frames is
appended as input and label, the whole trajectories are kept as well, all as tensors in memory; a sample is a pair and a
dictionary of the case's parameters; torch's loader shuffles and stacks them in the process that trains. Here both
train the same operator by the same optimiser from the same file, in a process each:

    python -m benchmarks._cfdbench_files published|ours FILE OPERATOR STEPS
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from benchmarks._ledger import Ledger, extremes
from benchmarks.data import flow_file
from sciml import data
from sciml.operators import UNet2015
from sciml.operators._grid import GridOperator

BATCH = 32
WARM = 5  # steps that are not timed
CASES, FRAMES = 300, 100  # 30,000 frames
STEPS = {"scale": 200, "unet_2015": 25}
REPEATS = 3
FEW = 3  # cases of the file that tells what training takes without its data


class Scale(GridOperator):
    """y = a x: an operator that costs nothing, so that what is left of a step is data and loop."""

    name, title = "scale", "scale"

    def __init__(self, in_channels: int, out_channels: int, n_params: int = 0, dimensions: int = 2):
        super().__init__(in_channels, out_channels, dimensions, n_params=n_params, coordinates=False)
        self.factor = nn.Parameter(torch.ones(()))

    @classmethod
    def for_signature(cls, signature: Any, **options: Any) -> Scale:
        return cls(signature.channels_in, signature.channels_out, signature.n_params, **options)

    def config(self) -> dict[str, Any]:
        return {"in_channels": self.in_channels, "out_channels": self.out_channels, "n_params": self.n_params}

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        return self.factor * x[:, : self.out_channels]


OPERATORS = {"scale": Scale, "unet_2015": UNet2015}


class Pairs(torch.utils.data.Dataset):
    """All pairs of frames, as the published code holds them."""

    def __init__(self, path: Path):
        dataset = data.open(path)
        names = str(dataset.attrs["parameters"]).split()
        ends = np.cumsum(dataset["row_size"].values)
        inputs, labels, self.trajectories, self.parameters, self.case = [], [], [], [], []
        for i, end in enumerate(ends.tolist()):
            part = dataset.isel(frame=slice(end - int(dataset["row_size"].values[i]), end))
            mask = np.ones((part.sizes["frame"], *part["u"].shape[1:]), np.float32)
            frames = torch.from_numpy(np.stack([part["u"].values, part["v"].values, mask], axis=1))
            for before, after in itertools.pairwise(frames):
                inputs.append(before.clone())
                labels.append(after.clone())
                self.case.append(i)
            self.trajectories.append(frames)
            self.parameters.append({n: float(dataset[n].values[i]) for n in names})
        self.inputs, self.labels = torch.stack(inputs), torch.stack(labels)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        return self.inputs[k], self.labels[k], self.parameters[self.case[k]]


def published(path: Path, name: str, steps: int) -> dict[str, Any]:
    opened = time.perf_counter()
    pairs = Pairs(path)

    def together(batch: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
        inputs, labels, given = zip(*batch, strict=True)
        return torch.stack(inputs), torch.stack(labels), torch.tensor([list(p.values()) for p in given])

    loader = torch.utils.data.DataLoader(pairs, BATCH, shuffle=True, collate_fn=together)
    operator = OPERATORS[name](2, 2, n_params=len(pairs.parameters[0]))
    optimiser = torch.optim.Adam(operator.parameters(), lr=1e-3)
    done, began, first = 0, 0.0, 0.0
    while done <= steps:
        for inputs, labels, given in loader:
            if done == 0:
                first = time.perf_counter()
            if done == WARM:
                began = time.perf_counter()
            optimiser.zero_grad()
            frame, mask = inputs[:, :2], inputs[:, 2:]
            found = (frame + operator(frame, given.float())) * mask
            loss = ((found - labels[:, :2]) ** 2).mean() / (labels[:, :2] ** 2).mean()
            loss.backward()
            optimiser.step()
            done += 1
            if done > steps:
                break
    rate = BATCH * (done - WARM) / (time.perf_counter() - began)
    began = time.perf_counter()
    count = sum(1 for _ in itertools.islice(loader, steps))
    alone = (time.perf_counter() - began) / count
    return {"samples_per_second": rate, "seconds_before": first - opened, "loading": alone * rate / BATCH}


def ours(path: Path, name: str, steps: int) -> dict[str, Any]:
    import sciml
    from sciml.solvers import Surrogate
    from sciml.training.callbacks import Callback
    from sciml.training.objectives import Supervised
    from sciml.training.optimisers import Adam

    class Clock(Callback):
        first = began = ended = 0.0

        def on_start(self, trainer: Any) -> None:
            self.first = time.perf_counter()

        def on_step(self, trainer: Any, record: dict[str, Any]) -> None:
            if record["step"] == WARM:
                self.began = time.perf_counter()
            self.ended = time.perf_counter()

    clock, opened = Clock(), time.perf_counter()
    surrogate = Surrogate(OPERATORS[name], stepping=sciml.Autoregressive(), fields=("u", "v"))
    recipe = sciml.Recipe(length=sciml.Steps(steps), batch=BATCH, objective=Supervised(), optimiser=Adam(lr=1e-3),
                          validate_every=steps)  # fmt: skip
    running = sciml.Running(callbacks=(clock,), progress=False)
    surrogate.fit(str(path), recipe, split="train", validation=None, running=running)
    rate = BATCH * (steps - WARM) / (clock.ended - clock.began)
    return {"samples_per_second": rate, "seconds_before": clock.first - opened}


def measured(way: str, path: Path, name: str, steps: int) -> dict[str, Any]:
    """Samples a second, and the most memory, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks._cfdbench_files", way, str(path), name, str(steps)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def compare(ledger: Ledger, folder: Path, quick: bool) -> None:
    """Both ways on 30,000 frames, in turn, and on a few, which tell what training takes without its data."""
    folder.mkdir(parents=True, exist_ok=True)
    cases, frames = (6, 20) if quick else (CASES, FRAMES)
    files = {"whole": (folder / f"{cases}.h5", cases), "few": (folder / f"{FEW}.h5", FEW)}
    for path, count in files.values():
        if not path.exists():
            flow_file(path, count, frames)
    ratios, memory, shares, found = {}, {}, {}, {}
    for name, steps in STEPS.items():
        taken = [
            {way: measured(way, files["whole"][0], name, 10 if quick else steps) for way in ("published", "ours")}
            for _ in range(REPEATS)
        ]
        few = {
            way: [measured(way, files["few"][0], name, 10)["peak_bytes"] for _ in range(REPEATS)]
            for way in ("published", "ours")
        }
        for way in ("published", "ours"):
            rates = [t[way]["samples_per_second"] for t in taken]
            peak = statistics.median(t[way]["peak_bytes"] for t in taken)
            least = statistics.median(few[way])
            found[name, way] = {"peak": peak, "of_data": max(peak - least, 0)}
            before = statistics.median(t[way]["seconds_before"] for t in taken)
            rate, samples = statistics.median(rates), cases * (frames - 1)
            found[name, way]["epoch"] = samples / (before + samples / rate)
            ledger.row(
                section="training from files", operator=name, way=way, frames=cases * frames, batch=BATCH, cores=1,
                samples_per_second=rate, slowest=min(rates), fastest=max(rates), seconds_before=before,
                first_epoch_samples_per_second=found[name, way]["epoch"],
                loading_share=statistics.median(t[way]["loading"] for t in taken) if way == "published" else None,
                peak_gigabytes=peak / 1e9, peak_gigabytes_on_few_frames=least / 1e9,
            )  # fmt: skip
        ratios[name] = [t["ours"]["samples_per_second"] / t["published"]["samples_per_second"] for t in taken]
        shares[name] = statistics.median(t["published"]["loading"] for t in taken)
        memory[name] = found[name, "ours"]["of_data"] / found[name, "published"]["of_data"]
    middle = {name: statistics.median(each) for name, each in ratios.items()}
    epoch = {name: found[name, "ours"]["epoch"] / found[name, "published"]["epoch"] for name in STEPS}
    ledger.check(
        "training_samples_per_second_vs_published_loader", middle["scale"],
        f"of a step of the published way, once everything is in memory, loading is {shares['scale']:.0%}: no loader "
        f"could be more than {1 / (1 - shares['scale']):.3g} times as fast",
        spread=extremes(ratios["scale"], f"{REPEATS} pairs of processes"),
        note=f"with an operator that costs nothing: what is left of a step is data and loop; with the U-Net of "
        f"CFDBench {middle['unet_2015']:.2f}; of the first epoch from when the file is opened "
        f"{epoch['scale']:.3g} and {epoch['unet_2015']:.3g}",
    )  # fmt: skip
    whole = {name: found[name, "ours"]["peak"] / found[name, "published"]["peak"] for name in STEPS}
    ledger.check(
        "training_peak_memory_vs_published_loader", whole["unet_2015"], "see the rows",
        note=f"of the whole process, with the U-Net of CFDBench; with an operator that costs nothing "
        f"{whole['scale']:.2f}; of what 30,000 frames add to training on a few {memory['unet_2015']:.3f} and "
        f"{memory['scale']:.3f}",
    )  # fmt: skip


def _peak() -> int:
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _way, _path, _name, _steps = sys.argv[1:]
    _found = {"published": published, "ours": ours}[_way](Path(_path), _name, int(_steps))
    print(json.dumps(_found | {"peak_bytes": _peak()}))
