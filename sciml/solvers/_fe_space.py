"""Finite-element spaces: continuous, piecewise linear or quadratic functions on the simplices of a mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import skfem
from jaxtyping import Float, Shaped
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError
from sciml.geometry import Box, Geometry
from sciml.support import Mesh

_KINDS: dict[int, tuple[Any, tuple[Any, Any], str]] = {
    1: (skfem.MeshLine, (skfem.ElementLineP1, skfem.ElementLineP2), "line"),
    2: (skfem.MeshTri, (skfem.ElementTriP1, skfem.ElementTriP2), "triangle"),
    3: (skfem.MeshTet, (skfem.ElementTetP1, skfem.ElementTetP2), "tetrahedron"),
}
FLAT = 1e-10  # content of a cell over that of one with its longest side, below which it has none
BESIDE = 0.1  # of the side of a cell: how far off the boundary an outer node may lie


class Quadrature:
    """Functions of a space at the quadrature points of its cells, or of some facets.

    Attributes:
        weights: (E, Q) weights times the measure.
        points: (E, Q, D).
        table: (E, 1 + D, B, Q) of each of the B functions of a cell its value and its derivatives.
        dofs: (B, E) numbers of these functions.
        normals: (D, E, Q) outwards on facets, of cells none.
    """

    def __init__(self, basis: Any, normals: Any = None):
        pieces = [np.concatenate([np.asarray(f[0])[None], f[0].grad]) for f in basis.basis]
        shape = basis.dx.shape
        pieces = [np.broadcast_to(p, (len(p), *shape)) for p in pieces]
        self.table = np.ascontiguousarray(np.stack(pieces, axis=1).transpose(2, 0, 1, 3))
        self.weights, self.dofs = np.asarray(basis.dx), np.asarray(basis.element_dofs)
        d = self.table.shape[1] - 1
        self.normals = np.zeros((d, 0, 0)) if normals is None else np.broadcast_to(np.asarray(normals), (d, *shape))
        self.points = np.moveaxis(np.asarray(basis.global_coordinates()), 0, -1)

    def of(self, coefficients: Float[np.ndarray, "*batch dof"]) -> Float[np.ndarray, "*batch jet cell point"]:
        """Value and derivatives of a function at the points: (..., N) -> (..., 1 + D, E, Q)."""
        local = np.asarray(coefficients)[..., self.dofs]  # (..., B, E)
        return np.einsum("eaiq,...ie->...aeq", self.table, local, optimize=True)

    def vector(self, tests: dict[int, Any], count: int) -> Float[np.ndarray, " dof"]:
        """∫ Σ_a tests[a] D_a v for every function v: a = 0 is the value, 1 + j the derivative along j."""
        total = np.zeros((len(self.weights), self.table.shape[2]))
        for a, values in tests.items():
            total += (self.table[:, a] * (values * self.weights)[:, None]).sum(-1)
        return np.bincount(self.dofs.T.ravel(), total.ravel(), count)

    def matrix(self, terms: dict[tuple[int, int], Any]) -> Float[np.ndarray, "cell function function"]:
        """(E, B, B) of each cell ∫ Σ_ab terms[a, b] D_a v D_b w; v by row, w by column."""
        total = np.zeros((len(self.weights), *self.table.shape[2:3] * 2))
        for b in {b for _, b in terms}:
            left: Any = 0.0
            for (a, other), values in terms.items():
                if other == b:
                    left = left + self.table[:, a] * (values * self.weights)[:, None]
            total += left @ np.swapaxes(self.table[:, b], 1, 2)
        return total


class Space:
    """Continuous functions that are polynomials of degree 1 or 2 on each simplex of a mesh.

    Args:
        support: lines, triangles or tetrahedra; quadrilaterals and hexahedra are cut into these.
        geometry: the domain, by whose named boundaries the facets of the mesh are told apart.
        order: degree of the polynomials.

    Raises:
        InputError: a mesh that is none of a domain: an inverted or flat cell, a loose node, several parts, a facet of
            more than two cells, or an outer facet or node off the boundaries of the domain.
    """

    def __init__(self, support: Mesh, geometry: Geometry, order: int):
        d = support.dimensions
        if d != geometry.dimensions:
            raise InputError(f"mesh: has {d} dimensions, the domain {geometry.dimensions}")
        simplices = support.simplices()
        check_mesh(np.asarray(support.position, np.float64), simplices)
        mesh, elements, _ = _KINDS[d]
        position = np.ascontiguousarray(np.asarray(support.position, np.float64).T)
        self.support, self.order, self.dimensions = support, order, d
        self.mesh = mesh(position, np.ascontiguousarray(simplices.T))
        self.element = elements[order - 1]()
        self.degree = 2 * order + 2  # up to which quadrature is exact
        basis = skfem.Basis(self.mesh, self.element, intorder=self.degree)
        self.size = int(basis.N)
        self.cells = Quadrature(basis)
        self.nodes = np.ascontiguousarray(basis.doflocs.T)  # (N, D)
        nodal: Any = basis.nodal_dofs
        self.vertices = np.asarray(nodal[0])  # numbers of the functions of the nodes of the mesh
        self._basis = basis
        self.facets = self._named(geometry)
        self._sides: dict[str, Quadrature] = {}
        self._ons: dict[str, np.ndarray] = {}

    def _named(self, geometry: Geometry) -> dict[str, np.ndarray]:
        """Numbers of the outer facets on each named boundary."""
        outer = self.mesh.boundary_facets()
        ends = self.mesh.facets[:, outer]
        corners = self.mesh.p[:, ends]  # (D, corners, F)
        middle = corners.mean(1).T
        length = np.full(len(outer), np.ptp(self.mesh.p) / self.mesh.t.shape[1])
        size = np.ptp(corners, axis=1).max(0) if self.dimensions > 1 else length
        names = list(geometry.boundaries)
        if not names:
            raise InputError("mesh: the domain has no boundary")
        distance = np.stack([np.asarray(geometry.boundaries[n].distance(middle), np.float64) for n in names])
        nearest = distance.argmin(0)
        far = distance.min(0) > 0.75 * size  # a chord is never farther from its circle than half of its length
        if far.any():
            place = ", ".join(f"{c:g}" for c in middle[int(far.argmax())])
            raise InputError(f"mesh: ends at ({place}), where the domain has no boundary")
        nodes, number = np.unique(ends, return_inverse=True)
        at = self.mesh.p[:, nodes].T
        off = np.min([geometry.boundaries[n].distance(at) for n in names], axis=0)
        beside = (off[number.reshape(ends.shape)] > BESIDE * size).any(0)
        if beside.any():
            node = int(ends[off[number.reshape(ends.shape)][:, beside.argmax()].argmax(), beside.argmax()])
            place = ", ".join(f"{c:g}" for c in self.mesh.p[:, node])
            raise InputError(f"mesh: outer node {node} at ({place}) does not lie on the boundary of the domain")
        return {name: outer[nearest == k] for k, name in enumerate(names)}

    def side(self, name: str) -> Quadrature:
        """Quadrature over the facets of a named boundary."""
        if name not in self._sides:
            basis = skfem.FacetBasis(self.mesh, self.element, facets=self.facets[name], intorder=self.degree)
            self._sides[name] = Quadrature(basis, basis.normals)
        return self._sides[name]

    def on(self, name: str) -> np.ndarray:
        """Numbers of the functions whose nodes lie on a named boundary."""
        if name not in self._ons:
            self._ons[name] = np.asarray(self._basis.get_dofs(self.facets[name]).flatten())
        return self._ons[name]

    def at(
        self, coefficients: Float[np.ndarray, "*batch dof"], points: Shaped[np.ndarray, "point {self.dimensions}"]
    ) -> Float[np.ndarray, "*batch jet point"]:
        """Value and derivatives at points: (..., N) -> (..., 1 + D, M). Beyond the mesh the function has the value of
        the nearest node and the slope there of one of its cells."""
        points = np.asarray(points, dtype=np.float64)
        stencil = self.support.stencil(points)
        cell = self._cell_of(stencil)
        origin = self.mesh.p[:, self.mesh.t[0, cell]].T
        sides = np.stack([self.mesh.p[:, self.mesh.t[k + 1, cell]].T - origin for k in range(self.dimensions)], -1)
        place = np.einsum("mk,mkd->md", stencil.weight, np.asarray(self.support.position, np.float64)[stencil.index])
        local = np.linalg.solve(sides, (place - origin)[..., None])[..., 0].T  # (D, M) reference coordinates
        inverse = np.linalg.inv(sides)
        numbers = self._basis.element_dofs[:, cell]
        found: Any = 0.0
        for k, dofs in enumerate(numbers):
            value, slope = self.element.lbasis(local, k)
            along = np.einsum("dm,mde->em", np.asarray(slope), inverse)
            found = found + np.concatenate([np.asarray(value)[None], along]) * np.asarray(coefficients)[..., None, dofs]
        return found

    def _cell_of(self, stencil: Any) -> np.ndarray:
        """The simplex that a stencil of the mesh interpolates on; of a lone node one of its simplices."""
        key = {tuple(sorted(c)): i for i, c in enumerate(self.mesh.t.T.tolist())}
        any_of = np.zeros(self.mesh.p.shape[1], int)
        any_of[self.mesh.t] = np.arange(self.mesh.t.shape[1])
        rows = np.sort(stencil.index, axis=1).tolist()
        return np.array([key.get(tuple(row), any_of[row[0]]) for row in rows], int)


def check_mesh(position: np.ndarray, simplices: np.ndarray) -> None:
    """Refuse what is no mesh of a domain; see `Space`."""
    d = position.shape[1]
    if simplices.shape[1] != d + 1:
        raise InputError(f"mesh: cells with {simplices.shape[1]} corners in {d} dimensions, expected {d + 1}")
    sides = position[simplices[:, 1:]] - position[simplices[:, :1]]
    content = np.linalg.det(sides)
    longest = np.linalg.norm(sides, axis=2).max(1)
    flat = np.abs(content) <= FLAT * longest**d
    if flat.any():
        raise InputError(f"mesh: cell {int(flat.argmax())} is degenerate: its corners lie on one line or plane")
    usual = 1.0 if (content > 0).sum() * 2 >= len(content) else -1.0
    turned = content * usual < 0
    if turned.any():
        k = int(turned.argmax())
        raise InputError(f"mesh: cell {k} is inverted: its corners {simplices[k].tolist()} turn the other way")
    used = np.zeros(len(position), bool)
    used[simplices] = True
    if not used.all():
        raise InputError(f"mesh: node {int((~used).argmax())} belongs to no cell")
    facets = np.sort(np.concatenate([np.delete(simplices, k, axis=1) for k in range(d + 1)]), axis=1)
    _, first, count = np.unique(facets, axis=0, return_index=True, return_counts=True)
    if count.max() > 2:
        raise InputError(f"mesh: nodes {facets[first[count.argmax()]].tolist()} are a facet of {count.max()} cells")
    pairs = np.concatenate([simplices[:, [0, k]] for k in range(1, d + 1)])
    graph = scipy.sparse.coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(position),) * 2)
    parts, label = connected_components(graph, directed=False)
    if parts > 1:
        k = int(np.flatnonzero(label[simplices[:, 0]] != label[simplices[0, 0]])[0])
        raise InputError(f"mesh: falls into {parts} parts; cell {k} is disconnected from cell 0")


def made_mesh(geometry: Geometry, resolution: int) -> Mesh:
    """A mesh of a domain, with sides of 1 / `resolution` of its longest extent: of a box in rows, else by
    `sciml.meshes`."""
    size = max(high - low for low, high in geometry.extents) / resolution
    if isinstance(geometry, Box):
        axes = [np.linspace(a, b, max(1, round((b - a) / size)) + 1) for a, b in geometry.extents]
        make, _, kind = _KINDS[geometry.dimensions]
        mesh = make(axes[0]) if len(axes) == 1 else make.init_tensor(*axes)
        return oriented(mesh.p.T, mesh.t.T, kind)
    from sciml.meshes import triangulate

    try:
        return triangulate(geometry, size)
    except InputError as error:
        if not str(error).startswith("size:"):
            raise
        raise InputError(f"{error}; size is the longest extent over the resolution, {resolution}") from None


def oriented(position: np.ndarray, cells: np.ndarray, kind: str) -> Mesh:
    """A mesh whose cells all turn the same way."""
    cells = np.array(cells, dtype=np.int64)
    negative = np.linalg.det(position[cells[:, 1:]] - position[cells[:, :1]]) < 0
    cells[negative, -2:] = cells[negative, -2:][:, ::-1]
    return Mesh(np.ascontiguousarray(position), {kind: cells})
