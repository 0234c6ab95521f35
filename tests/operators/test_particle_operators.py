"""Operators on particles: weights of B-splines, what must not matter, and all that operators promise."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sciml import registry
from sciml.contracts import FunctionSignature, ParticleBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import GIOROM, GNS, GridParticle
from sciml.operators._particles import density, gathered, mean_of, scattered, stencil
from sciml.support.neighbours import radius_graph

NAMES = ("gns", "giorom", "grid_particle")
SMALL = {
    "gns": {"width": 12, "layers": 2},
    "giorom": {"width": 12, "interactions": 1, "latent_width": 8, "latent_layers": 2, "cells": 8, "modes": 3},
    "grid_particle": {"width": 8, "multipliers": (1, 2), "cells": 8},
}
CHANNELS, RADIUS = 7, 0.15


def signature(d=2, around=False):
    return Signature(CHANNELS, d, d, n_params=2, periodic=(around,) * d, space=(8,) * d)


def sample(count=40, d=2, seed=0, around=False, points=None):
    rng = np.random.default_rng(seed)
    points = rng.random((count, d)) if points is None else points
    edges = radius_graph(points, RADIUS, lengths=(1.0,) * d, periodic=(around,) * d)
    place, joined = torch.from_numpy(points), torch.from_numpy(edges)
    way = place[joined[1]] - place[joined[0]]
    if around:
        way = way - torch.round(way)
    return ParticleBatch(
        torch.from_numpy(rng.normal(size=(len(points), CHANNELS))), place, joined, way / RADIUS,
        torch.zeros(len(points), dtype=torch.int64), torch.from_numpy(rng.normal(size=(1, 2))),
        lengths=torch.full((1, d), 1 / RADIUS, dtype=torch.float64),
    )  # fmt: skip


def together(*samples):
    start, edges, graph = 0, [], []
    for k, s in enumerate(samples):
        edges.append(s.edges + start)
        graph.append(torch.full_like(s.graph, k))
        start += len(s.nodes)
    rest = {n: torch.cat([getattr(s, n) for s in samples]) for n in ("nodes", "points", "offsets", "params", "lengths")}
    return ParticleBatch(edges=torch.cat(edges, 1), graph=torch.cat(graph), **rest)


def make(name, d=2, around=False, **options):
    torch.manual_seed(1)
    return build(registry.operators.get(name), signature(d, around), SMALL[name] | options).double()


def close(a, b):
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


# -- B-splines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("around", [False, True])
def test_weights_sum_to_one_and_reproduce_first_degree(d, around):
    points = torch.rand(200, d, dtype=torch.float64)
    points[0], points[1] = 0.0, 1.0
    where = stencil(points, torch.zeros(200, dtype=torch.int64), None, (6,) * d, (around,) * d)
    assert close(where.weight.sum(1), torch.ones(200, dtype=torch.float64)) and where.weight.min() >= 0
    assert where.cells == ((6,) * d if around else (8,) * d)
    # Σ w (x_c − y) = 0: interpolation is exact for linear functions
    assert (where.weight[..., None] * where.offset).sum(1).abs().max() < 1e-12
    grid = torch.full((1, 3, *where.cells), 2.5, dtype=torch.float64)
    assert close((gathered(grid, where) * where.weight[..., None]).sum(1), torch.full((200, 3), 2.5).double())
    one = torch.ones(200, where.weight.shape[1], 1, dtype=torch.float64)
    count = density(where, 1)
    assert float(count.sum()) == pytest.approx(200)
    full = count > 0.1
    assert (mean_of(scattered(one, where, 1), count)[full] - 1).abs().max() < 2e-4


def test_weights_are_those_of_the_formula_and_smooth():
    def spline(s):
        s = abs(s)
        return 0.75 - s * s if s < 0.5 else (1.5 - s) ** 2 / 2 if s < 1.5 else 0.0

    points = torch.tensor([[0.37]], dtype=torch.float64)
    where = stencil(points, torch.zeros(1, dtype=torch.int64), None, (6,), (False,))
    for cell, weight in zip(where.cell[0].tolist(), where.weight[0].tolist(), strict=True):
        centre = (cell - 0.5) / 6  # one cell before the box
        assert weight == pytest.approx(spline((0.37 - centre) * 6), abs=1e-12)
    edge = torch.tensor([[0.5 - 1e-9], [0.5 + 1e-9]], dtype=torch.float64)
    grid = torch.rand(1, 1, 8, dtype=torch.float64)
    where = stencil(edge, torch.zeros(2, dtype=torch.int64), None, (6,), (False,))
    values = (gathered(grid, where) * where.weight[..., None]).sum(1)
    assert float((values[0] - values[1]).abs()) < 1e-7


# -- what must not matter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [2, 3])
def test_numbers_of_particles_and_edges_are_names(name, d):
    net, batch = make(name, d), sample(d=d)
    y = net(**batch.arguments())
    assert y.shape == (40, d) and torch.isfinite(y).all()
    order, shuffle = torch.randperm(40), torch.randperm(batch.edges.shape[1])
    place = torch.argsort(order)
    moved = {n: getattr(batch, n)[order] for n in ("nodes", "points", "graph")}
    moved |= {"edges": place[batch.edges][:, shuffle], "offsets": batch.offsets[shuffle]}
    assert close(net(**batch.arguments() | moved), y[order])


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_two_is_two_singles(name):
    net, one, two = make(name), sample(), sample(31, seed=5)
    assert close(net(**together(one, two).arguments()), torch.cat([net(**one.arguments()), net(**two.arguments())]))


@pytest.mark.parametrize("name", NAMES)
def test_masked_particles_never_matter(name):
    net, batch = make(name), sample()
    y = net(**batch.arguments())
    more = sample(12, seed=9)
    both = ParticleBatch(
        torch.cat([batch.nodes, torch.full_like(more.nodes, float("nan"))]),
        torch.cat([batch.points, torch.full_like(more.points, float("nan"))]),
        torch.cat([batch.edges, more.edges + 40, torch.tensor([[3], [45]])], 1),
        torch.cat([batch.offsets, more.offsets, torch.full((1, 2), float("nan")).double()]),
        torch.cat([batch.graph, more.graph]), batch.params, torch.cat([torch.ones(40), torch.zeros(12)]),
        lengths=batch.lengths,
    )  # fmt: skip
    found = net(**both.arguments())
    assert close(found[:40], y) and (found[40:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_moving_all_particles_changes_nothing(name):
    """Of messages by any way; of grids on a periodic box by whole cells of the coarsest grid."""
    net = make(name, around=True)
    start = np.random.default_rng(3).random((40, 2))
    shift = np.array([0.137, 0.291]) if name == "gns" else np.array([0.25, 0.5])
    y = net(**sample(points=start, around=True).arguments())
    assert close(net(**sample(points=(start + shift) % 1, around=True).arguments()), y)


def test_far_particles_are_seen_through_the_grid_alone():
    """Two groups without an edge between them: messages keep each to itself, grids tell them of each other."""
    rng = np.random.default_rng(4)
    points = np.concatenate([0.2 * rng.random((15, 2)), 0.7 + 0.2 * rng.random((15, 2))])
    batch = sample(points=points)
    other = batch.nodes.clone()
    other[15:] += 1.0
    for name, seen in (("gns", False), ("giorom", True), ("grid_particle", True)):
        net = make(name)
        with torch.no_grad():
            change = net(**batch.arguments()) - net(**batch.arguments() | {"nodes": other})
        assert (float(change[:15].abs().max()) > 1e-9) == seen, name


def test_kernels_see_where_is_asked_as_well_as_what_is_there():
    """One particle: all cells in its reach average the same value, and differ by the way to them alone."""
    net = make("giorom")
    where = stencil(torch.tensor([[0.4, 0.6]]).double(), torch.zeros(1, dtype=torch.int64), None, (8, 8), ())
    count = density(where, 1)
    u = net.onto.onto_grid(torch.randn(1, 12).double(), where, count)
    filled = u[0][:, count[0, 0] > 0.05]
    assert float(filled.detach().std(1).mean()) > 1e-3
    with torch.no_grad():
        net.onto.apart.weight.zero_()
    u = net.onto.onto_grid(torch.randn(1, 12).double(), where, count)
    assert float(u.detach()[0][:, count[0, 0] > 0.05].std(1).max()) < 1e-2


# -- what operators promise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_a_gradient_and_inputs_too(name):
    net, batch = make(name, activation="gelu") if name != "grid_particle" else make(name), sample()
    nodes, points = batch.nodes.requires_grad_(), batch.points.requires_grad_()
    offsets = batch.offsets.requires_grad_()
    net(**batch.arguments() | {"nodes": nodes, "points": points, "offsets": offsets}).square().sum().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and float(p.grad.abs().max()) > 0, key
    assert float(nodes.grad.abs().max()) > 0
    assert name == "gns" or float(points.grad.abs().max()) > 0
    assert name == "grid_particle" or float(offsets.grad.abs().max()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_one_batch_by_heart(name):
    net, batch = make(name, **({} if name == "gns" else {"width": 16})).float(), sample(20).to(dtype=torch.float32)
    target = torch.randn(20, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (net(**batch.arguments()) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.02 * float(target.square().mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_network_after_the_graph_exports(name):
    net, batch = make(name).eval(), sample()
    program = torch.export.export(net, (), batch.arguments(), strict=False)
    assert close(program.module()(**batch.arguments()), net(**batch.arguments()))


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_and_settings_make_the_same(name, tmp_path):
    net, batch = make(name), sample()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    again = type(net)(**json.loads(json.dumps(net.config()))).double()
    again.load_state_dict(load_file(tmp_path / "w.safetensors"))
    assert torch.equal(again(**batch.arguments()), net(**batch.arguments()))


@pytest.mark.parametrize("name", NAMES)
def test_a_forgetful_operator_has_the_same_gradients(name):
    net, batch = make(name).train(), sample()
    grads = []
    for forgets in (False, True):
        net.forgets = forgets
        net.zero_grad()
        net(**batch.arguments()).square().sum().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    assert all(close(a, b) for a, b in zip(*grads, strict=True))


def test_cells_follow_from_the_data():
    cells = Signature(CHANNELS, 2, 2, space=(10, 6))
    assert build(GIOROM, cells, {}).cells == (10, 6)
    assert build(GridParticle, cells, {}).cells == (20, 12)
    assert build(GridParticle, cells, {"cells": 5}).cells == (5, 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: GIOROM(3, 2, cells=2), "cells: expected"),
        (lambda: GridParticle(3, 2, cells=(4, 4, 4)), "cells: expected 2 numbers"),
        (lambda: GIOROM(3, 2, activation="tanh"), "activation: expected one of"),
        (lambda: build(GIOROM, Signature(3, 2, 2), {}), "cells: expected 2 numbers, one an axis, got None"),
        (lambda: build(GNS, Signature(3, 2, 2, functions=(FunctionSignature("f", 1, 2),)), {}), "functions"),
        (lambda: make("giorom")(**sample().arguments() | {"lengths": torch.ones(2, 2)}), "lengths: expected a row"),
        (lambda: make("grid_particle")(**sample().arguments() | {"lengths": torch.ones(2)}), "lengths: expected"),
        (lambda: make("grid_particle")(**sample().arguments() | {"nodes": torch.ones(40, 3)}), "nodes: expected"),
    ],
)
def test_bad_input_stops_with_one_line(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
