"""Samples of different numbers of points: batches of those of like size, padded no further than they have to be."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sciml
from sciml.contracts import CurvedGraphBatch, GraphBatch, PointBatch
from sciml.data import pack, solution
from sciml.data.loader import order
from sciml.operators import DeepONet
from sciml.problem import InputSpec
from sciml.problems import DataProblem
from sciml.solvers import Surrogate
from sciml.support import Points
from sciml.training import Autoregressive, Epochs, Nmse, Recipe, RelativeL2, Running, Steady, Supervised
from sciml.training.batches import MemoryBatches
from sciml.training.buckets import Frames, alike, padding
from sciml.training.encoding import encoding_for
from sciml.training.losses import Mse, SampleNmse
from sciml.training.model import Model
from sciml.training.samples import table

SIZES = np.clip(np.random.default_rng(1).lognormal(np.log(1200), 0.5, 400), 500, 3000).astype(int)


def cases(sizes: Any, frames: int = 0, **more: Any):
    """u = level·sin(3 x) e^{−t} with a static field at its nodes, on scattered points of its own for each case."""
    p = DataProblem(
        "waves", ["u"], ["level"], 2, steady=not frames,
        inputs=[InputSpec("kind", "1", "coefficient", ("node",))],
    )  # fmt: skip
    found = []
    for k, n in enumerate(sizes):
        r = np.random.default_rng(k)
        support = Points(np.concatenate([r.random((n - 2, 2)), [[0.0, 0.0], [1.0, 1.0]]]))
        x = support.points()
        level = 1.0 + 0.1 * k
        values = level * np.sin(3 * x[:, 0])
        case = p.case(level=level, kind=np.round(x[:, 1])).on(support)
        if frames:
            t = 0.5 * np.arange(frames)
            found.append(solution(case, t, {"u": (("time", "node"), np.exp(-t)[:, None] * values)}, support))
        else:
            found.append(solution(case, None, {"u": (("node",), values)}, support))
    return table(pack(found, dtype=None), None)


class Local(nn.Module):
    """A map of each node alone, with what it passes on along edges, if there are any."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Linear(channels, 1)

    def forward(self, **given: Any):
        if "nodes" in given:
            h = torch.cat([given["nodes"], given["points"]], 1)
            h = h if "curvature" not in given else h * (1 + given["curvature"][:, None])
            sender, receiver = given["edges"]
            h = h + torch.zeros_like(h).index_add(0, receiver, h[sender])
            return torch.tanh(self.inner(h))
        values, mask = given["functions"][0].values, given["functions"][0].mask
        mean = (values * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        return torch.tanh(self.inner(torch.cat([given["points"], mean.expand(-1, given["points"].shape[1], -1)], -1)))


# -- which samples meet ----------------------------------------------------------------------------------------------


def test_every_sample_once_and_another_order_in_every_epoch():
    rng = np.random.default_rng(0)
    seen = []
    for epoch in range(3):
        sequence = rng.permutation(400)
        made = alike(sequence, SIZES, 8, 5, epoch)
        assert len(made) == 50 and sorted(np.concatenate(made)) == list(range(400))
        again = alike(sequence, SIZES, 8, 5, epoch)
        assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
        seen.append({frozenset(b.tolist()) for b in made})
        # batches do not come by size: the correlation of size and number is that of chance
        means = np.array([SIZES[b].mean() for b in made])
        assert abs(np.corrcoef(means, np.arange(50))[0, 1]) < 0.4
    assert not seen[0] & seen[1] and not seen[1] & seen[2]
    rest = alike(np.arange(30), SIZES, 8, 0, 0)
    assert sorted(np.concatenate(rest)) == list(range(24))  # as much as whole batches hold
    plain = alike(np.arange(30), SIZES, 8, 0, 0, window=0)
    assert [b.tolist() for b in plain] == np.arange(24).reshape(3, 8).tolist()


def test_padding():
    assert padding([np.array([0, 1]), np.array([2])], np.array([1, 3, 5])) == pytest.approx(1 - 9 / 11)
    assert padding([], np.array([1])) == 0
    drawn = np.random.default_rng(2).permutation(400)
    shares = {w: padding(alike(drawn, SIZES, 8, 0, 0, w), SIZES) for w in (0, 4, 16)}
    to_the_longest_of_all = 1 - SIZES.mean() / SIZES.max()
    assert shares[16] < 0.1 < 0.15 < shares[4] < 0.25 < 0.35 < shares[0] < 0.45 < 0.55 < to_the_longest_of_all


def test_frames_have_their_own_length():
    frames = Frames()
    own = [torch.randn(3, 2, 4), torch.randn(2, 2, 6)]
    for values in own:
        frames.add(values)
    found = frames.take(torch.tensor([[[2], [1]], [[4], [3]]]), np.array([0, 1]), 7)
    assert found.shape == (2, 2, 1, 2, 7)
    assert torch.equal(found[0, 0, 0, :, :4], own[0][2]) and torch.equal(found[1, 1, 0, :, :6], own[1][0])
    assert not found[0, ..., 4:].any() and not found[1, ..., 6:].any()


# -- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", [GraphBatch, CurvedGraphBatch, PointBatch])
@pytest.mark.parametrize("stepping", [Steady(), Autoregressive(history=2)])
def test_a_shortened_batch_has_the_loss_of_the_padded_one(takes, stepping):
    t = cases((9, 4, 6, 13), 0 if stepping == Steady() else 5)
    e = encoding_for(takes).fit(t, stepping, dtype="float64")
    made = MemoryBatches(t, e, batch_size=2, seed=3)
    torch.manual_seed(0)
    s = e.signature()
    channels = 2 + (s.channels_in if issubclass(takes, GraphBatch) else s.functions[0].channels)
    model = Model(Local(channels).double(), e)
    for pick in made.indices(0):
        short = made.batch(pick)
        longest = max(t.support(i).size for i in made.items[pick, 0])
        assert short.target.shape[-1] == longest == short.given.coords.shape[-1]
        # padded to the longest case of all, as if it were in the batch
        whole = e.given(t.cases, [t.support(i) for i in range(4)]).rows(torch.from_numpy(made.items[pick, 0]))
        pad = (0, 13 - longest)
        long = type(short)(
            nn.functional.pad(short.target, pad), short.params, whole,
            state=None if short.state is None else nn.functional.pad(short.state, pad),
        )  # fmt: skip
        for loss in (Mse(), Nmse(), SampleNmse(), RelativeL2()):
            a, b = (Supervised(loss)(model, batch, 0.0) for batch in (short, long))
            torch.testing.assert_close(a, b, rtol=1e-13, atol=0)
        again = long.shortened(longest)
        assert torch.equal(again.target, short.target) and torch.equal(again.given.weights, short.given.weights)
        if takes is CurvedGraphBatch:
            assert torch.equal(again.given.curvature, short.given.curvature)
            assert short.given.curvature.shape == (2, 1, longest)


def test_batches_of_equal_sizes_are_as_they_are_drawn():
    t = cases((7,) * 9, 3)
    e = encoding_for(GraphBatch).fit(t, Autoregressive())
    made = MemoryBatches(t, e, batch_size=4, seed=2)
    for epoch in range(2):
        drawn = order(len(made.items), 2, epoch)
        assert [b.tolist() for b in made.indices(epoch)] == [drawn[4 * i : 4 * i + 4].tolist() for i in range(4)]
    assert made.padding() == 0 and not made.ragged


def test_batches_hold_what_the_cases_say():
    t = cases((9, 4, 6, 13, 8, 5), 4)
    e = encoding_for(PointBatch).fit(t, Autoregressive(), dtype="float64")
    made = MemoryBatches(t, e, batch_size=3, seed=1)
    assert made.padding() < 0.25 < MemoryBatches(t, e, batch_size=3, seed=1, window=0).padding()
    count = 0
    for pick, batch in zip(made.indices(4), made.epoch(4), strict=True):
        for k, (i, present) in enumerate(made.items[pick, :2]):
            n = t.support(i).size
            frames = e.normalise(t.cases[i], t.frames(i), t.support(i))
            np.testing.assert_array_equal(batch.state[k, 0, :, :n], frames[present])
            np.testing.assert_array_equal(batch.target[k, 0, :, :n], frames[present + 1])
            assert not batch.target[k, ..., n:].any() and batch.given.mask[k, 0].sum() == n
            count += 1
    assert count == 18
    rest = list(made.epoch(4, start=2))
    assert len(rest) == 4 and torch.equal(rest[-1].target, batch.target)


# -- training --------------------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_in_an_epoch_goes_on_as_if_it_had_not_been(tmp_path):
    data = cases((30, 41, 22, 57, 35, 28, 49, 33), 0).dataset
    recipe = Recipe(length=Epochs(4), batch=2, seed=3)

    class Stop(sciml.training.Callback):
        def on_step(self, trainer, record):
            if record["step"] == 6:
                raise KeyboardInterrupt

    def run(out: Any, **more: Any):
        running = Running(out=out, device="cpu", progress=False, checkpoint_every=1, **more)
        return Surrogate(DeepONet, device="cpu").fit(data, recipe, split=None, validation=None, running=running)

    whole = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", callbacks=(Stop(),))
    resumed = run(tmp_path / "b", resume=True)
    for a, b in zip(whole.operator.parameters(), resumed.operator.parameters(), strict=True):
        assert torch.equal(a, b)
