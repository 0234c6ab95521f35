"""A small regression task for the tests of the training loop; also a program that trains it, to be killed."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn

from sciml.training import AdamW, MetricsLog, Recipe, Running, Steps, Trainer


class Batches:
    """Noise-free samples of a fixed map, order fixed by (seed, epoch)."""

    def __init__(self, n=64, size=8, seed=0):
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(n, 6)).astype(np.float32)
        self.y = np.tanh(self.x @ rng.normal(size=(6, 2))).astype(np.float32)
        self.size, self.seed = size, seed

    def __len__(self):
        return len(self.x) // self.size

    def epoch(self, epoch, start=0):
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
        for i in range(start, len(self)):
            pick = order[i * self.size : (i + 1) * self.size]
            yield {"x": torch.from_numpy(self.x[pick]), "y": torch.from_numpy(self.y[pick])}


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 2))


def loss(network, batch, share):
    return ((network(batch["x"]) - batch["y"]) ** 2).mean()


def validate(network):
    b = Batches()
    with torch.no_grad():
        return {"validation": float(((network(torch.from_numpy(b.x)) - torch.from_numpy(b.y)) ** 2).mean())}


def recipe(steps=120, lr=1e-2, average=0.95, clip=1.0, weight_decay=1e-4, **more):
    optimiser = AdamW(lr=lr, average=average, clip=clip, weight_decay=weight_decay)
    return Recipe(**{"length": Steps(steps), "optimiser": optimiser, "seed": 3} | more)


def trainer(recipe, out=None, *, network=None, loss=loss, **running):
    network = model() if network is None else network
    return Trainer(network, loss, recipe, Running(out=out, device="cpu", progress=False, **running))


if __name__ == "__main__":  # python toy_task.py OUT PAUSE_MS
    torch.set_num_threads(1)
    out, pause = sys.argv[1], float(sys.argv[2]) / 1000

    def slow_loss(network, batch, share):
        time.sleep(pause)
        return loss(network, batch, share)

    log = MetricsLog(f"{out}/metrics.jsonl", every=1)
    run = trainer(recipe(validate_every=10), out, loss=slow_loss, checkpoint_every=3, callbacks=(log,), resume=True)
    print("ready", flush=True)
    run.fit(Batches(), validate)
    print("done", flush=True)
