"""What the dimensions of a file are: cases, time, axes of space, nodes, components. By what attributes say (CF: axis,
standard_name, units, positive), then by names, or as somebody told."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sciml.data.importers._clocks import is_clock
from sciml.data.importers._labelled import Labelled, Variable
from sciml.data.importers._mapping import Plan
from sciml.errors import InputError, suggest

SPACE = ("z", "y", "x")
AXES = ("case", "time", *SPACE, "node", "component")
STANDARD = {
    "time": "time", "forecast_period": "time", "realization": "case", "projection_x_coordinate": "x", "longitude": "x",
    "grid_longitude": "x", "projection_y_coordinate": "y", "latitude": "y", "grid_latitude": "y", "altitude": "z",
    "height": "z", "depth": "z", "air_pressure": "z", "model_level_number": "z", "ocean_sigma_coordinate": "z",
    "atmosphere_sigma_coordinate": "z", "atmosphere_hybrid_sigma_pressure_coordinate": "z",
}  # fmt: skip
NAMES = {
    "case": "case cases sample samples ensemble ens member members realization realisation realizations number run "
            "runs trial trials simulation simulations sim sims batch traj trajectory trajectories experiment scenario",
    "time": "time t times frame frames timestep timesteps step steps tstep time_counter time_step snapshot snapshots "
            "sim_time valid_time ocean_time xtime nt ntime tdim record",
    "x": "x lon longitude rlon nx xc xh xq xx xdim x_coordinate ni west_east lons nlon long i_x easting xi_rho",
    "y": "y lat latitude rlat ny yc yh yq yy ydim y_coordinate nj south_north lats nlat j_y northing eta_rho",
    "z": "z lev level levels depth height altitude alt plev pressure_level isobaric nz zc zdim z_coordinate bottom_top "
         "layer layers nlev st_ocean zl hybrid model_level pfull s_rho deptht isobaricinhpa",
    "node": "node nodes nnode nnodes point points npoint npoints ncol cell cells ncell ncells nface nfaces particle "
            "particles vertex vertices element elements nmesh2_node mesh2d_nnodes station stations",
    "component": "component components channel channels comp comps vector direction dim variable variables feature "
                 "features c",
}  # fmt: skip
_BY_NAME = {word: axis for axis, words in NAMES.items() for word in words.split()}
_LETTER = re.compile(r"\A([xyz])_(?:hash_\w+|[acf]{3})\Z")  # of Dedalus, of Oceananigans
_MARKS = re.compile(r"\A(?:n_|num_|dim_|number_of_)|(?:_dim|_axis|_index|_coord|-coordinate)\Z")


def of_variable(v: Variable) -> str:
    """The axis that a coordinate variable says that it is, by its attributes; "" where these say nothing."""
    axis = str(v.attrs.get("axis", "")).lower()
    if axis in ("x", "y", "z", "t"):
        return "time" if axis == "t" else axis
    if (name := str(v.attrs.get("standard_name", "")).lower()) in STANDARD:
        return STANDARD[name]
    unit = v.unit.lower()
    if is_clock(unit):
        return "time"
    if re.match(r"degrees?_?(east|e)\Z", unit):
        return "x"
    if re.match(r"degrees?_?(north|n)\Z", unit):
        return "y"
    return "z" if str(v.attrs.get("positive", "")).lower() in ("up", "down") else ""


def of_name(name: str) -> str:
    """The axis by the name of a dimension or coordinate; "" where it says nothing."""
    word = name.rsplit("/", 1)[-1].lower()
    if marked := _LETTER.match(word):
        return marked[1]
    return _BY_NAME.get(word) or _BY_NAME.get(_MARKS.sub("", word), "")


def roles(file: Labelled, plan: Plan) -> dict[str, str]:
    """Dimension -> axis, "" for what is not understood.

    Raises:
        InputError: what was told does not fit.
    """
    told = _told(file, plan)
    found: dict[str, str] = {}
    for dim in file.sizes:
        found[dim] = told.get(dim) or _role(file, dim)
    for axis in ("case", "time", *SPACE, "node"):
        same = [d for d, a in found.items() if a == axis and not d.startswith("?")]
        sure = [d for d in same if d in told]
        if sure and len(same) > len(sure):
            found |= {d: "" for d in same if d not in sure}
    if led := leading(file, found):
        found[led] = "case"
    return found


def leading(file: Labelled, axes: Mapping[str, str]) -> str:
    """The one dimension that is not understood, if it has numbers of its own and comes first in fields: what cases
    differ in; "" where there is none, or cases have a dimension already."""
    unknown = [d for d, a in axes.items() if not a]
    if len(unknown) != 1 or "case" in axes.values():
        return ""
    dim = unknown[0]
    own = any(n.rsplit("/", 1)[-1] == dim and v.dims == (dim,) and v.is_number for n, v in file.variables.items())
    fields = [v.dims for v in file.variables.values() if dim in v.dims and {axes[d] for d in v.dims} & {*SPACE, "node"}]
    return dim if own and fields and all(d[0] == dim for d in fields) else ""


def _told(file: Labelled, plan: Plan) -> dict[str, str]:
    sizes, given = file.sizes, plan.option("dimensions", dict, {})
    given = {f"?{d}" if d not in sizes and f"?{d}" in sizes else d: a for d, a in given.items()}
    for dim, axis in given.items():
        if dim not in sizes:
            raise InputError(f"options.dimensions: {file.label} has no dimension {dim!r}{suggest(dim, sizes)}")
        if axis not in AXES:
            raise InputError(f"options.dimensions.{dim}: expected one of {', '.join(AXES)}, got {axis!r:.40}")
    found = dict(given)
    orders = {v.name: plan.order for v in file.variables.values() if plan.order and len(plan.order) == len(v.dims)}
    orders |= {t.source or n: t.axes for p in (plan.fields, plan.inputs) for n, t in p.items() if t.axes}
    for name, order in orders.items():
        v = file.variables.get(name)
        if v is None:
            continue
        unknown = [a for a in order if a not in AXES]
        if unknown or len(order) != len(v.dims) or len(set(order)) < len(order):
            raise InputError(f"axes: {order} do not fit {v.where} of shape {v.shape}: expected {len(v.dims)} different "
                             f"ones of {', '.join(AXES)}")  # fmt: skip
        for dim, axis in zip(v.dims, order, strict=True):
            if found.setdefault(dim, axis) != axis:
                raise InputError(f"axes: dimension {dim!r} of {v.where} is told to be {axis} and {found[dim]}")
    positions: dict[str, set[str]] = {}
    along = dict(plan.coordinates) | ({"time": plan.time} if plan.time.source else {})
    for axis, part in along.items():
        if part.source:
            if part.source not in file.variables:
                raise InputError(f"{'' if axis == 'time' else 'coordinates.'}{axis}: {file.label} has no variable "
                                 f"{part.source!r}{suggest(part.source, file.variables)}")  # fmt: skip
            dims = file.variables[part.source].dims
            if len(dims) == 1:
                positions.setdefault(dims[0], set()).add(axis)
    for dim, axes in positions.items():  # several positions along one dimension are those of nodes
        found.setdefault(dim, next(iter(axes)) if len(axes) == 1 else "node")
    return found


def _role(file: Labelled, dim: str) -> str:
    own = next((v for n, v in file.variables.items() if n.rsplit("/", 1)[-1] == dim and v.dims == (dim,)), None)
    if own is not None and (said := of_variable(own)):
        return said
    if named := of_name(dim):
        return named
    beside = [v for v in file.variables.values() if v.dims == (dim,)]
    said = {of_variable(v) or of_name(v.name) for v in beside} - {"", "case", "component"}
    if len(said) == 1:
        return said.pop()
    return "node" if len(said & set(SPACE)) > 1 else ""


def coordinate(file: Labelled, dim: str, axis: str, plan: Plan) -> Variable | None:
    """The variable of positions along a dimension; None where there is none."""
    source = plan.time.source if axis == "time" else plan.coordinates[axis].source if axis in plan.coordinates else ""
    if source:
        return file.variables[source]
    fits = [v for v in file.variables.values() if v.dims == (dim,) and v.is_number]
    for good in (
        lambda v: v.name.rsplit("/", 1)[-1] == dim,
        lambda v: of_variable(v) == axis,
        lambda v: of_name(v.name) == axis,
    ):
        one = next((v for v in fits if good(v)), None)
        if one is not None:
            return one
    return None


def not_fields(file: Labelled) -> dict[str, str]:
    """Variables that serve others: bounds, grid mappings, topologies; name -> what they are."""
    found: dict[str, str] = {}
    for v in file.variables.values():
        for key, what in (("bounds", "bounds of cells"), ("climatology", "bounds of cells"),
                          ("grid_mapping", "a map projection"), ("cell_measures", "sizes of cells"),
                          ("ancillary_variables", "ancillary")):  # fmt: skip
            for word in _words(v.attrs, key):
                if word in file.variables:
                    found[word] = what
        if "cf_role" in v.attrs or str(v.attrs.get("grid_mapping_name", "")):
            found[v.name] = "a mesh" if "cf_role" in v.attrs else "a map projection"
    return found


def _words(attrs: Mapping[str, object], key: str) -> list[str]:
    value = attrs.get(key, "")
    return [w for w in value.split() if not w.endswith(":")] if isinstance(value, str) else []
