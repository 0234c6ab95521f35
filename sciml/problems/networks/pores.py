"""Flow through pores that are joined by throats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg
from scipy.spatial import Delaunay

from sciml.errors import InputError, is_number, positive
from sciml.problems.networks._network import Network

VISCOSITY = 1e-3  # Pa s, of water


@dataclass(frozen=True, eq=False)
class PoreNetwork:
    """Creeping flow through throats, with pressures at the pores:

        Σ_j g_ij (p_j − p_i) = 0   at inner pores,   p = p_given   at the pores of inlet and outlet

    Args:
        points: (n, 3) m, where pores are.
        radius: (n,) m, inscribed in the pores.
        throats: (m, 2) numbers of the pores that a throat joins.
        throat_radius: (m,) m.
        throat_length: (m,) m.
        conductance: (m,) m³/(Pa s), above 0: flow over pressure difference. By default that of a round tube,
            π r⁴ / (8 μ L) (Hagen and Poiseuille).
        inlet, outlet: (n,) True at the pores where the pressure is given.
        pressures: Pa, at inlet and outlet.
        viscosity: μ, Pa s.
        box: m, (3, 2) ends of what the network fills; that of its pores by default. Flow is along x.

    Raises:
        InputError: arrays that do not fit or are out of range; no inlet, no outlet, or pores that are joined to
            neither.
    """

    points: np.ndarray
    radius: np.ndarray
    throats: np.ndarray
    throat_radius: np.ndarray
    throat_length: np.ndarray
    inlet: np.ndarray
    outlet: np.ndarray
    conductance: Any = None
    pressures: tuple[float, float] = (1.0, 0.0)
    viscosity: float = VISCOSITY
    box: Any = None

    def __post_init__(self) -> None:
        n, m = len(self.points), len(self.throats)
        if not m:
            raise InputError("throats: expected at least one, got none")
        shapes = {
            "points": (n, 3), "radius": (n,), "throats": (m, 2), "throat_radius": (m,), "throat_length": (m,),
            "inlet": (n,), "outlet": (n,), "conductance": (m,), "box": (3, 2),
        }  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None and name in ("conductance", "box"):
                continue
            kind = bool if name in ("inlet", "outlet") else np.int64 if name == "throats" else np.float64
            try:
                found = np.asarray(value, kind)
            except (TypeError, ValueError):
                raise InputError(f"{name}: expected an array of numbers, got {type(value).__name__}") from None
            if found.shape != shape:
                raise InputError(f"{name}: expected an array {shape}, got {found.shape}")
            if not np.isfinite(found).all():
                raise InputError(f"{name}: {int((~np.isfinite(found)).sum())} values are not finite")
            object.__setattr__(self, name, found)
        if not is_number(self.viscosity) or self.viscosity <= 0:
            raise InputError(f"viscosity: expected a number above 0, got {self.viscosity!r}")
        if len(self.pressures) != 2 or not all(map(is_number, self.pressures)) or self.dropped == 0:
            raise InputError(f"pressures: expected two different numbers, got {self.pressures!r}")
        if self.conductance is None:
            tube = np.pi * self.throat_radius**4 / (8 * self.viscosity * self.throat_length)
            object.__setattr__(self, "conductance", tube)
        for name in ("radius", "throat_radius", "throat_length", "conductance"):
            values = getattr(self, name)
            if not (values > 0).all():
                raise InputError(f"{name}: expected numbers above 0, got {values.min():.3g}")
        if self.throats.min() < 0 or self.throats.max() >= n or (self.throats[:, 0] == self.throats[:, 1]).any():
            raise InputError(f"throats: expected pairs of different pores from 0 to {n - 1}")
        if not self.inlet.any() or not self.outlet.any() or (self.inlet & self.outlet).any():
            raise InputError("inlet, outlet: expected pores at each, and none at both")
        if self.fixed.all():
            raise InputError("inlet, outlet: expected pores between them, got none")
        lost = self._lost()
        if lost.any():
            raise InputError(
                f"throats: {int(lost.sum())} pores are joined to neither inlet nor outlet, the first number "
                f"{int(lost.argmax())}; see `percolating`"
            )
        if self.box is None:
            object.__setattr__(self, "box", np.stack((self.points.min(0), self.points.max(0)), 1))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def fixed(self) -> np.ndarray:
        """(n,) True where the pressure is given."""
        return self.inlet | self.outlet

    @property
    def given(self) -> np.ndarray:
        """(n,) Pa, the pressures that are given; 0 elsewhere."""
        return np.where(self.inlet, self.pressures[0], np.where(self.outlet, self.pressures[1], 0.0))

    @property
    def dropped(self) -> float:
        """Pa, from inlet to outlet."""
        return self.pressures[0] - self.pressures[1]

    def _lost(self) -> np.ndarray:
        label = components(len(self), self.throats)
        return ~np.isin(label, np.unique(label[self.fixed]))

    def laplacian(self) -> scipy.sparse.csr_array:
        """(n, n) m³/(Pa s), the flow out of each pore from the pressures of all."""
        return weighted_laplacian(len(self), self.throats, self.conductance)

    def pressure(self) -> np.ndarray:
        """(n,) Pa, to rounding: sparse factors of the Laplacian between the pores where p is not given."""
        free, p = ~self.fixed, self.given
        matrix = self.laplacian()[free]
        p[free] = scipy.sparse.linalg.spsolve(matrix[:, free].tocsc(), -(matrix @ p))
        return p

    def flow(self, pressure: np.ndarray | None = None) -> tuple[float, float]:
        """m³/s that enters at the inlet, and that leaves at the outlet."""
        out = self.laplacian() @ (self.pressure() if pressure is None else pressure)
        return float(out[self.inlet].sum()), float(-out[self.outlet].sum())

    def permeability(self) -> float:
        """m², k = μ Q L / (A Δp) (Darcy) of the box along x."""
        length, *across = np.diff(self.box, axis=1)[:, 0]
        return abs(self.viscosity * self.flow()[0] * length / (across[0] * across[1] * self.dropped))

    def along(self) -> np.ndarray:
        """(n,) Pa, what a straight line from inlet to outlet gives: what costs nothing."""
        x = self.points[:, 0]
        first, last = x[self.inlet].mean(), x[self.outlet].mean()
        share = np.clip((x - first) / (last - first), 0, 1)
        return np.where(self.fixed, self.given, self.pressures[0] - share * self.dropped)

    def network(self, solved: bool = True) -> Network:
        """What a regressor is shown, without units: lengths and conductances in logarithms, over their geometric
        means, and pressures from 0 at the outlet to 1 at the inlet.

        Nodes hold the radius, whether p is given, and the p that is given; edges, one each way, radius, length and
        conductance of their throat. With the three coordinates that is what the publication shows.

        Args:
            solved: whether the exact pressures come with it, rather than those alone that are given.
        """

        def centred(values: np.ndarray) -> np.ndarray:
            logs = np.log(values)
            return logs - logs.mean()

        share = (self.given - self.pressures[1] * self.fixed) / self.dropped
        nodes = np.stack((centred(self.radius), self.fixed.astype(float), share), 1)
        links = np.stack([centred(v) for v in (self.throat_radius, self.throat_length, self.conductance)], 1)
        points = (self.points - self.box[:, 0]) / np.diff(self.box, axis=1).max()
        known = self.pressure() if solved else np.where(self.fixed, self.given, np.nan)
        answer = ((known - self.pressures[1]) / self.dropped)[:, None]
        edges = np.concatenate((self.throats.T, self.throats.T[::-1]), 1)
        return Network(nodes, edges, np.concatenate((links, links)), points, answer, ~self.fixed)

    def pressure_of(self, share: Any) -> np.ndarray:
        """(n,) Pa, of an answer to `network`."""
        return self.pressures[1] + np.asarray(share, np.float64).reshape(len(self)) * self.dropped

    def cut(self, box: Any) -> PoreNetwork:
        """The pores within a box, (3, 2) m, and the throats between them.

        Pores with a throat through the box's first or last face across x are its inlet and outlet; throats through its
        other faces are closed. Pores that are joined to neither are left out.

        Raises:
            InputError: a box that nothing flows through.
        """
        low, high = np.asarray(box, np.float64).T
        inside = ((self.points >= low) & (self.points < high)).all(1)
        a, b = self.throats.T
        a, b = np.concatenate((a, b)), np.concatenate((b, a))
        crossing = inside[a] & ~inside[b]
        ends = []
        for beyond in (self.points[:, 0] < low[0], self.points[:, 0] >= high[0]):
            end = np.zeros(len(self), bool)
            end[a[crossing & beyond[b]]] = True
            ends.append(end)
        both = inside[self.throats].all(1)
        inlet, outlet = ends[0] & ~ends[1], ends[1] & ~ends[0]
        return percolating(
            self.points, self.radius, self.throats[both], self.throat_radius[both], self.throat_length[both],
            inlet, outlet, self.conductance[both], keep=inside, pressures=self.pressures, viscosity=self.viscosity,
            box=np.stack((low, high), 1),
        )  # fmt: skip


def components(count: int, throats: np.ndarray) -> np.ndarray:
    """(n,) the number of the connected part that a pore belongs to."""
    graph = scipy.sparse.coo_array((np.ones(len(throats)), throats.T), (count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def weighted_laplacian(count: int, throats: np.ndarray, weights: np.ndarray) -> scipy.sparse.csr_array:
    """(n, n) D − W."""
    a, b = throats.T
    rows, columns = np.concatenate((a, b, a, b)), np.concatenate((b, a, a, b))
    values = np.concatenate((-weights, -weights, weights, weights))
    return scipy.sparse.coo_array((values, (rows, columns)), (count, count)).tocsr()


def percolating(
    points: np.ndarray, radius: np.ndarray, throats: np.ndarray, throat_radius: np.ndarray, throat_length: np.ndarray,
    inlet: np.ndarray, outlet: np.ndarray, conductance: np.ndarray | None = None, *, keep: np.ndarray | None = None,
    **options: Any,
) -> PoreNetwork:  # fmt: skip
    """A `PoreNetwork` of the connected parts that reach from inlet to outlet alone; throats between two pores of
    inlet and outlet, in which the flow is known beforehand, stay.

    Raises:
        InputError: there is none.
    """
    label = components(len(points), throats)
    through = np.intersect1d(label[inlet], label[outlet])
    kept = np.isin(label, through)
    if keep is not None:
        kept &= keep
    if not kept.any() or (inlet | outlet)[kept].all():
        raise InputError("throats: nothing flows from inlet to outlet")
    number = np.cumsum(kept) - 1
    lines = kept[throats].all(1)
    return PoreNetwork(
        points[kept], radius[kept], number[throats[lines]], throat_radius[lines], throat_length[lines],
        inlet[kept], outlet[kept], None if conductance is None else conductance[lines], **options,
    )  # fmt: skip


def random_pores(
    rng: np.random.Generator,
    count: int | tuple[int, int] = (50, 200),
    *,
    coordination: tuple[float, float] = (4.0, 12.0),
    spread: tuple[float, float] = (0.2, 0.6),
    spacing: float = 1e-4,
) -> PoreNetwork:
    """Pores at random in a box, joined along the edges of their Delaunay tetrahedra.

    Throats are taken away at random until a pore has as many as is drawn; a spanning tree of the shortest stays. Radii
    are log-normal, a throat's being a share of its narrower pore's, and conductances those of round tubes. Inlet and
    outlet are the tenth of the pores at either end of x.

    Args:
        rng: whose draws it is made of.
        count: pores, or a range of them from which it is drawn.
        coordination: range of throats a pore, on average over a network.
        spread: range of the standard deviation of log radii.
        spacing: m, between pores, on average.

    Raises:
        InputError: an argument out of range.
    """
    low, high = (count, count) if not isinstance(count, tuple) else count
    if positive("count", high) < positive("count", low, 10):
        raise InputError(f"count: expected a range, got {count}")
    n = int(rng.integers(low, high + 1))
    shape = rng.uniform(0.7, 1.4, 3) * (1.0, 0.8, 0.8)
    shape *= (n / np.prod(shape)) ** (1 / 3) * spacing
    points = rng.random((n, 3)) * shape
    cells = Delaunay(points).simplices
    pairs = np.concatenate([cells[:, list(p)] for p in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))])
    throats = np.unique(np.sort(pairs, 1), axis=0)
    distance = np.linalg.norm(points[throats[:, 0]] - points[throats[:, 1]], axis=1)
    tree = scipy.sparse.csgraph.minimum_spanning_tree(
        scipy.sparse.coo_array((distance, throats.T), (n, n)).tocsr()
    ).tocoo()
    spanning = np.isin(throats @ (n, 1), np.sort(np.stack(tree.coords, 1), 1) @ (n, 1))
    wanted = rng.uniform(*coordination) * n / 2
    rest = max(int((~spanning).sum()), 1)
    kept = spanning | (rng.random(len(throats)) < (wanted - spanning.sum()) / rest)
    throats, distance = throats[kept], distance[kept]
    sigma = rng.uniform(*spread)
    radius = 0.25 * spacing * np.exp(sigma * rng.standard_normal(n))
    radius = np.minimum(radius, 0.6 * spacing)
    throat_radius = radius[throats].min(1) * np.minimum(0.5 * np.exp(sigma * rng.standard_normal(len(throats))), 1)
    length = np.maximum(distance - radius[throats].sum(1), 0.2 * distance)
    order, ends = np.argsort(points[:, 0]), max(n // 10, 1)
    inlet, outlet = np.zeros(n, bool), np.zeros(n, bool)
    inlet[order[:ends]], outlet[order[-ends:]] = True, True
    box = np.stack((np.zeros(3), shape), 1)
    return PoreNetwork(points, radius, throats, throat_radius, length, inlet, outlet, box=box)
