"""The convergent graph solver: contraction, fixed point, implicit derivative, what must not matter."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from sciml.contracts import Signature, build
from sciml.errors import InputError
from sciml.operators import ConvergentGraph
from sciml.operators import convergent_graph as module

SMALL = {"width": 8, "heads": 3, "edge_channels": 2}


def graph_of(count: int = 14, seed: int = 0) -> dict:
    """Points at random joined by triangles, with numbers at nodes and along edges, in float64."""
    rng = np.random.default_rng(seed)
    position = rng.random((count, 2))
    cells = Delaunay(position).simplices
    pairs = np.unique(np.sort(np.concatenate([cells[:, [0, 1]], cells[:, [0, 2]], cells[:, [1, 2]]]), 1), axis=0)
    edges = torch.from_numpy(np.concatenate((pairs, pairs[:, ::-1])).T.astype(np.int64))
    points = torch.from_numpy(position)
    return {
        "nodes": torch.from_numpy(rng.normal(size=(count, 3))),
        "points": points,
        "edges": edges,
        "offsets": points[edges[1]] - points[edges[0]],
        "graph": torch.zeros(count, dtype=torch.int64),
        "features": torch.from_numpy(rng.normal(size=(edges.shape[1], 2))),
    }


def make(**options) -> ConvergentGraph:
    torch.manual_seed(1)
    return build(ConvergentGraph, Signature(3, 2, 2), SMALL | options).double()


def written(net, given, head: int) -> torch.Tensor:
    """A of one head as a matrix."""
    passed, _ = net.contraction(**given)
    a = torch.zeros(len(given["nodes"]), len(given["nodes"]), dtype=passed.dtype)
    return a.index_put((given["edges"][1], given["edges"][0]), passed[:, head], accumulate=True)


@pytest.mark.parametrize("weights", ["share", "clip"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_head_contracts_by_gamma_whatever_the_weights(weights, scale):
    net, given, rng = make(weights=weights, gamma=0.7), graph_of(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=rng, dtype=p.dtype) * scale)
    for head in range(3):
        a = written(net, given, head)
        assert (a >= 0).all()
        assert a.sum(1).max() <= 1 + 1e-14
        x, y = torch.randn(2, 14, 50, generator=rng, dtype=torch.float64)
        moved = net.gamma * (a @ (x - y))
        assert (moved.abs().amax(0) <= net.gamma * (x - y).abs().amax(0) * (1 + 1e-14)).all()


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"exact": True, "gamma": 1.0}, {"weights": "clip"}])
def test_the_fixed_point_is_the_dense_solution(options, monkeypatch):
    net, given = make(**options), graph_of()
    passed, source = net.contraction(**given)
    z = net.settled(passed, source, given["edges"], given["graph"])
    for head in range(3):
        a = written(net, given, head)
        expected = torch.linalg.solve(torch.eye(14, dtype=a.dtype) - net.gamma * a, source[:, head])
        assert torch.allclose(z[:, head], expected, rtol=1e-10, atol=1e-10)
    if net.exact:  # of large graphs, by GMRES, or by sparse LU where no derivative is wanted
        monkeypatch.setattr(module, "WRITTEN", 0)
        again = net.settled(passed, source, given["edges"], given["graph"])
        assert again.requires_grad and torch.allclose(again, z, rtol=1e-9, atol=1e-9)
        with torch.no_grad():
            assert torch.allclose(net.settled(passed, source, given["edges"], given["graph"]), z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"exact": True, "gamma": 0.95}, {"gmres": True, "exact": True, "gamma": 0.95}])
def test_the_derivative_against_central_differences(options, monkeypatch):
    """To every single parameter and number that comes in, in float64; of iterations along one random direction of each
    tensor, as they take longer."""
    options = dict(options)
    iterates = options.pop("gmres", False)
    if iterates:
        monkeypatch.setattr(module, "WRITTEN", 0)
    whole = "exact" in options and not iterates
    net, given = make(width=3, heads=2, **options), graph_of(6)
    inputs = {n: given[n].clone().requires_grad_() for n in ("nodes", "points", "offsets", "features")}
    rng = torch.Generator().manual_seed(2)
    weight = torch.randn(6, 2, dtype=torch.float64, generator=rng)

    def value() -> torch.Tensor:
        return (net(**given | inputs) * weight).sum()

    leaves = [*net.parameters(), *inputs.values()]
    slopes = torch.autograd.grad(value(), leaves)
    size, step, worst = max(float(s.abs().max()) for s in slopes), 1e-5, 0.0
    for leaf, slope in zip(leaves, slopes, strict=True):
        ways = torch.eye(leaf.numel(), dtype=leaf.dtype)
        ways = ways if whole else torch.randn(1, leaf.numel(), dtype=leaf.dtype, generator=rng)
        for way in ways.view(-1, *leaf.shape):
            ends = []
            with torch.no_grad():
                for sign in (1, -2, 1):
                    leaf += sign * step * way
                    ends.append(float(value()))
            worst = max(worst, abs((ends[0] - ends[1]) / (2 * step) - float((way * slope).sum())) / size)
    assert worst <= 1e-6


def test_clipped_logits_have_no_derivative_and_shares_have():
    def dead(weights: str) -> bool:
        net = make(weights=weights)
        with torch.no_grad():
            net.logits.straight.bias.fill_(-50.0)
        net(**graph_of()).square().sum().backward()
        return all(p.grad is None or not p.grad.any() for p in net.logits.parameters())

    assert dead("clip") and not dead("share")


@pytest.mark.parametrize("options", [{}, {"exact": True, "gamma": 0.99}])
def test_numbers_of_nodes_and_edges_are_names(options):
    net, given = make(**options), graph_of()
    y = net(**given)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    shuffle = torch.randperm(given["edges"].shape[1], generator=torch.Generator().manual_seed(1))
    moved = {n: given[n][order] for n in ("nodes", "points", "graph")}
    moved |= {"edges": torch.argsort(order)[given["edges"]][:, shuffle]}
    moved |= {n: given[n][shuffle] for n in ("offsets", "features")}
    assert torch.allclose(net(**moved), y[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"exact": True, "gamma": 0.99}])
def test_a_batch_of_two_is_two_singles_and_masked_nodes_do_not_matter(options):
    net, one, two = make(**options), graph_of(14, 0), graph_of(9, 1)
    both = {n: torch.cat((one[n], two[n])) for n in ("nodes", "points", "offsets", "features")}
    both |= {
        "edges": torch.cat((one["edges"], two["edges"] + 14), 1),
        "graph": torch.cat((one["graph"], two["graph"] + 1)),
    }
    expected = torch.cat((net(**one), net(**two)))
    assert torch.allclose(net(**both), expected, rtol=1e-9, atol=1e-9)
    mask = torch.cat((torch.ones(14), torch.zeros(9)))
    spoilt = both | {n: torch.where(torch.arange(23)[:, None] < 14, both[n], torch.nan) for n in ("nodes", "points")}
    y = net(**spoilt, mask=mask)
    assert torch.allclose(y[:14], expected[:14], rtol=1e-9, atol=1e-9)
    assert (y[14:] == 0).all()


def test_influence_decays_as_gamma_to_the_hops_and_exactly_reaches_across():
    n = 24
    line = torch.arange(n - 1)
    given = {
        "nodes": torch.zeros(n, 3, dtype=torch.float64),
        "points": torch.zeros(n, 2, dtype=torch.float64),
        "edges": torch.stack((torch.cat((line, line + 1)), torch.cat((line + 1, line)))),
        "offsets": torch.zeros(2 * n - 2, 2, dtype=torch.float64),
        "graph": torch.zeros(n, dtype=torch.int64),
        "features": torch.zeros(2 * n - 2, 2, dtype=torch.float64),
    }
    for gamma, exact in ((0.5, False), (1.0, True)):
        net = make(gamma=gamma, exact=exact)
        passed = torch.full((2 * n - 2, 3), 0.5, dtype=torch.float64) * (1 if gamma < 1 else 0.999)
        source = torch.zeros(n, 3, dtype=torch.float64)
        source[0] = 1.0
        z = net.settled(passed, source, given["edges"], given["graph"])[:, 0]
        assert (z[1:] <= gamma ** torch.arange(1, n) * z.max() * (1 + 1e-9)).all()
        assert (z[-1] < 1e-6) if gamma == 0.5 else (z[-1] > 0.05)


def test_settings_come_back_and_wrong_ones_are_named():
    net = make(exact=True, gamma=0.9, weights="share")
    again = ConvergentGraph(**json.loads(json.dumps(net.config()))).double()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(**graph_of()), net(**graph_of()))
    net(**graph_of()).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
    for options, word in (
        ({"gamma": 1.0}, "gamma"), ({"gamma": 1.0, "exact": True, "weights": "clip"}, "gamma"),
        ({"gamma": 0.0}, "gamma"), ({"weights": "shares"}, "did you mean 'share'"), ({"heads": 0}, "heads"),
        ({"tolerance": 2.0}, "tolerance"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=word):
            make(**options)
    given = graph_of()
    del given["features"]
    with pytest.raises(InputError, match="features: expected"):
        net(**given)
