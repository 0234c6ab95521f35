"""Networks of pores and of states, and Statoil's tables."""

import numpy as np
import pytest

from sciml.errors import FileFormatError, InputError
from sciml.problems.networks import Network, PoreNetwork, StateGraph, random_pores, random_states, read_statoil


def chain(conductance, inner: int) -> PoreNetwork:
    """Pores in a row."""
    n = inner + 2
    points = np.stack((np.linspace(0, 1e-3, n), *np.zeros((2, n))), 1)
    ends = np.arange(n) == 0, np.arange(n) == n - 1
    throats = np.stack((np.arange(n - 1), np.arange(1, n)), 1)
    sizes = np.full(n - 1, 1e-5)
    box = np.array([[0, 1e-3], [0, 1e-4], [0, 2e-4]])
    return PoreNetwork(
        points, np.full(n, 2e-5), throats, sizes, sizes, *ends, conductance=conductance, pressures=(5.0, 1.0), box=box
    )


def test_throats_in_a_row_are_resistances_in_a_row():
    g = np.array([1.0, 2.0, 0.5, 4.0]) * 1e-12
    pores = chain(g, 3)
    through = 4.0 / (1 / g).sum()
    expected = 5.0 - np.concatenate(([0], np.cumsum(through / g)))
    assert np.allclose(pores.pressure(), expected, rtol=1e-12)
    assert np.allclose(pores.flow(), through, rtol=1e-12)
    assert pores.permeability() == pytest.approx(1e-3 * through * 1e-3 / (2e-8 * 4.0), rel=1e-12)
    tubes = chain(None, 3)
    assert tubes.conductance == pytest.approx(np.full(4, np.pi * 1e-20 / (8e-3 * 1e-5)), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_what_flows_into_a_pore_flows_out_of_it(seed):
    pores = random_pores(np.random.default_rng(seed))
    p, inner = pores.pressure(), ~pores.fixed
    a, b = pores.throats.T
    flow = pores.conductance * (p[a] - p[b])
    out = np.bincount(a, flow, len(pores)) - np.bincount(b, flow, len(pores))
    assert np.abs(out[inner]).max() <= 1e-12 * np.abs(flow).max()
    entered, left = pores.flow()
    assert entered > 0 and left == pytest.approx(entered, rel=1e-11)
    assert p.min() >= 0 and p.max() <= 1  # the maximum principle
    assert 50 <= len(pores) <= 200


def test_a_regressor_is_shown_numbers_without_units():
    one = random_pores(np.random.default_rng(3), 60)
    other = PoreNetwork(
        one.points * 7, one.radius * 7, one.throats, one.throat_radius * 7, one.throat_length * 7, one.inlet,
        one.outlet, pressures=(30.0, 10.0), viscosity=0.1, box=one.box * 7,
    )  # fmt: skip
    a, b = one.network(), other.network()
    for name in ("nodes", "links", "points", "answer"):
        assert np.allclose(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-10)
    assert np.allclose(other.pressure_of(b.answer), other.pressure(), rtol=1e-12)
    assert a.nodes.shape[1] + a.points.shape[1] == 6 and a.links.shape[1] == 3


def test_a_cut_is_a_network_of_the_same_throats():
    whole = random_pores(np.random.default_rng(0), 1500)
    box = np.stack((whole.box @ (0.7, 0.3), whole.box @ (0.2, 0.8)), 1)
    part = whole.cut(box)
    assert ((part.points >= box[:, 0]) & (part.points < box[:, 1])).all()
    number = {tuple(p): k for k, p in enumerate(whole.points)}
    kept = [number[tuple(p)] for p in part.points]
    known = {frozenset(t): g for t, g in zip(whole.throats.tolist(), whole.conductance, strict=True)}
    for (a, b), g in zip(part.throats, part.conductance, strict=True):
        assert known[frozenset((kept[a], kept[b]))] == g
    assert part.points[part.inlet, 0].mean() < part.points[part.outlet, 0].mean()
    with pytest.raises(InputError, match="nothing flows"):
        whole.cut(np.stack((whole.box[:, 1], whole.box[:, 1] * 2), 1))


def test_values_solve_bellmans_equation():
    graph = random_states(np.random.default_rng(0))
    value = graph.values()
    worth = graph.rewards + graph.discount * value[graph.actions[:, 1]]
    best = np.array([worth[graph.actions[:, 0] == s].max() for s in range(graph.states)])
    assert np.abs(best - value).max() <= 1e-11
    loop = StateGraph(2, [[0, 1], [1, 0], [1, 1]], [1.0, 0.0, 0.2], 0.5)
    assert np.allclose(loop.values(), [4 / 3, 2 / 3], rtol=0, atol=1e-12)
    network = graph.network()
    assert (network.edges[0] == graph.actions[:, 1]).all() and (network.links[:, 0] == graph.rewards).all()
    with pytest.raises(InputError, match="from each state"):
        StateGraph(3, [[0, 1], [1, 0]], [1.0, 0.0])


# -- Statoil's tables ------------------------------------------------------------------------------------------------

R, G = 1e-5, 0.0625
NODE1 = ["3 2e-3 1e-3 1e-3", "1 5e-4 5e-4 5e-4 2 -1 2 1 0 1 2", "2 15e-4 5e-4 5e-4 2 1 0 0 1 2 3",
         "3 1e-3 2e-4 5e-4 0 0 0"]  # fmt: skip
NODE2 = [f"{k} 1e-13 {2 * R} {G} 0" for k in (1, 2, 3)]
LINK1 = ["3", f"1 -1 1 {R} {G} 5e-4", f"2 1 2 {R} {G} 1e-3", f"3 2 0 {R} {G} 5e-4"]
LINK2 = ["1 -1 1 1e-9 1e-4 4e-4 1e-14 0", "2 1 2 1e-4 1e-4 8e-4 1e-14 0", "3 2 0 1e-4 1e-9 4e-4 1e-14 0"]


def write(folder, **changed):
    for kind, lines in {"node1": NODE1, "node2": NODE2, "link1": LINK1, "link2": LINK2}.items():
        lines = changed.get(kind, lines)
        if lines is not None:
            (folder / f"A_{kind}.dat").write_text("\n".join(lines) + "\n")
    return folder


def test_tables_of_two_square_pores_in_a_row(tmp_path):
    found = read_statoil(write(tmp_path))
    assert found.points.shape == (3, 3) and found.links.tolist() == [[-1, 0], [0, 1], [1, -2]]
    assert found.porosity == pytest.approx((3e-13 + 3e-14) / 2e-9)
    pores = found.pores()  # the third pore is joined to nothing
    assert len(pores) == 4 and pores.inlet.sum() == pores.outlet.sum() == 1
    a = (2 * R) ** 2, R**2  # squares: A = 4 r² where G = 1/16
    pore, throat = (0.5623 * (4 * v) ** 2 * G / 1e-3 for v in a)
    resistance = 4e-4 / pore + 16e-4 / throat
    assert pores.flow()[0] == pytest.approx(1 / resistance, rel=1e-12)
    assert pores.permeability() == pytest.approx(1e-3 * 2e-3 / (resistance * 1e-6), rel=1e-12)
    assert pores.points[pores.inlet].tolist() == [[0, 5e-4, 5e-4]]
    assert read_statoil(tmp_path / "A").links.tolist() == found.links.tolist()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"link2": None}, "A_link2.dat: no such file"),
        ({"node1": ["4 2e-3 1e-3 1e-3", *NODE1[1:]]}, "A_node1.dat: expected 4 rows"),
        ({"link1": LINK1[:-1]}, "A_link1.dat: expected 3 rows"),
        ({"node2": NODE2[:2]}, "A_node2.dat: expected 3 rows, as the first lines say, got 2"),
        ({"node2": [NODE2[0], "2 much 1 1 1", NODE2[2]]}, "A_node2.dat: line 2: expected numbers, got '2 much"),
        ({"link2": [LINK2[0], "2 1 2 1e-4", LINK2[2]]}, "A_link2.dat: line 2: expected 8 numbers, got 4"),
        ({"link2": [LINK2[0], "2 1 3 1e-4 1e-4 8e-4 1e-14 0", LINK2[2]]}, "A_link2.dat: line 2: expected two pores"),
        ({"link1": [*LINK1[:3], f"3 2 9 {R} {G} 5e-4"]}, "A_link1.dat: line 4: expected two pores from -1 to 3"),
        ({"link1": [LINK1[0], f"1 -1 1 nan {G} 5e-4", *LINK1[2:]]}, "line 2: expected finite numbers"),
        ({"link1": [LINK1[0], f"1 -1 1 0 {G} 5e-4", *LINK1[2:]]}, "line 2: expected sizes above 0"),
        ({"node1": [NODE1[0], "1 5e-4 5e-4 5e-4 3 -1 2 1 0 1 2", *NODE1[2:]]}, "line 2: expected 13 numbers for 3"),
        ({"node1": [*NODE1[:3], "3 1e-3 2e-4 5e-4 1 1 0 0 3"]}, "line 4: says 1 throats, A_link1.dat has 0"),
        ({"node1": [NODE1[0], "7" + NODE1[1][1:], *NODE1[2:]]}, "line 2: expected number 1, got 7"),
        ({"node1": [""]}, "A_node1.dat: is empty"),
    ],
)
def test_tables_that_do_not_fit_are_named(tmp_path, changed, words):
    with pytest.raises(InputError) as caught:
        read_statoil(write(tmp_path, **changed))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_folders_without_tables(tmp_path):
    with pytest.raises(InputError, match="expected one file"):
        read_statoil(tmp_path)
    write(tmp_path)
    (tmp_path / "A_link1.dat").write_bytes(bytes(range(256)))
    with pytest.raises(FileFormatError, match="no text"):
        read_statoil(tmp_path)


def test_wrong_networks_are_named():
    good = chain(None, 3)

    def made(**changed):
        names = ("points", "radius", "throats", "throat_radius", "throat_length", "inlet", "outlet")
        return PoreNetwork(**{n: getattr(good, n) for n in names} | changed)

    for changed, word in (
        ({"radius": good.radius[:2]}, "radius: expected an array"),
        ({"radius": -good.radius}, "radius: expected numbers"),
        ({"throats": good.throats + 1}, "throats: expected pairs"), ({"inlet": good.outlet}, "inlet, outlet"),
        ({"pressures": (1.0, 1.0)}, "pressures"), ({"viscosity": 0.0}, "viscosity"),
        ({"throats": np.array([[0, 1], [0, 1], [2, 3], [2, 3]])}, "joined to neither"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=word):
            made(**changed)
    with pytest.raises(InputError, match="edges: expected numbers of nodes from 0 to 1"):
        Network(np.zeros((2, 1)), np.array([[0], [2]]), np.zeros((1, 1)))
    with pytest.raises(InputError, match="links: expected an array"):
        Network(np.zeros((2, 1)), np.array([[0], [1]]), np.zeros((2, 1)))
