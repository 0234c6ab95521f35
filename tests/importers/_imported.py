"""What a layout makes of a source, read in this process."""

from sciml.data import importers
from sciml.data.importers._checked import Checked
from sciml.data.importers._mapping import Plan
from sciml.data.importers._serving import recognised
from sciml.data.importers._source import Source


def read(path, plan=None, layout=None):
    """(solutions, raw cases, notes) of a file or folder by the layout that is recognised."""
    source = Source(path)
    name = layout or recognised(source).layout
    reading = importers.get(name).read(source, Plan.from_json(plan or {}))
    checked = Checked(reading.problem)
    raws = list(reading.cases)
    assert len(raws) == reading.count
    return [checked.solution(raw, k) for k, raw in enumerate(raws)], raws, [*reading.notes, *checked.notes()]


def layout_of(path):
    found = recognised(Source(path))
    return None if found is None else found.layout
