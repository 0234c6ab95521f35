"""No module of the package leads back to itself by its imports, those inside functions included.

Imports for type checkers alone are left out, except in the facade of a package whose `__getattr__` makes them when
they are asked for. `from package import name` counts as an import of the module that the name comes from.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import sciml

ROOT = Path(sciml.__file__).parent

# Pairs (importer, imported) that are known and still to be taken apart; the list may only become shorter.
EXCEPTIONS: set[tuple[str, str]] = set()


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def statements(node: ast.AST, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import, wherever it stands; those under TYPE_CHECKING only where `typing` asks for them."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    hidden = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not typing
    for part in ("orelse",) if hidden else ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, part, ()):
            yield from statements(inner, typing)


def home(trees: dict[str, ast.Module], module: str, name: str) -> str:
    """The module that `from module import name` takes the name from."""
    if f"{module}.{name}" in trees:
        return f"{module}.{name}"
    for node in trees[module].body if module in trees else ():
        for inner in node.body if isinstance(node, ast.If) else [node]:
            if isinstance(inner, ast.ImportFrom) and inner.module and inner.module.startswith(f"{module}."):
                if any((alias.asname or alias.name) == name for alias in inner.names):
                    return home(trees, inner.module, name)
    return module


def imports(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for name, tree in trees.items():
        facade = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body)
        found: set[str] = set()
        for node in statements(tree, typing=facade):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            else:
                assert node.level == 0 and node.module, f"{name}: relative imports are not looked through"
                found |= {home(trees, node.module, alias.name) for alias in node.names}
        edges[name] = {f for f in found if f in trees and f != name and (name, f) not in EXCEPTIONS}
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """One way round for each group of modules that lead to each other."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in edges:
        if start in seen:
            continue
        ways, queue = {start: [start]}, [start]
        while queue:  # breadth first, so that the way round is a shortest one
            at = queue.pop(0)
            for onward in sorted(edges[at]):
                if onward == start:
                    found.append([*ways[at], start])
                    seen |= set(ways[at])
                    queue = []
                    break
                if onward not in ways:
                    ways[onward] = [*ways[at], onward]
                    queue.append(onward)
    return found


def test_no_module_leads_back_to_itself():
    found = circles(imports(modules()))
    assert not found, "\n".join(" -> ".join(way) for way in found)


def test_every_exception_is_still_needed():
    trees = modules()
    for importer, imported in EXCEPTIONS:
        names = {home(trees, n.module, a.name) for n in statements(trees[importer], False)
                 if isinstance(n, ast.ImportFrom) and n.module for a in n.names}  # fmt: skip
        assert imported in names, f"{importer} does not import {imported} any more; take it from the list"


def test_what_the_rule_sees(tmp_path):
    texts = {
        "p": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import one\ndef __getattr__(name): ...",
        "p.a": "def one():\n    from p import two\n    return two",
        "p.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import a\ntwo = 2",
        "p.c": "class C:\n    def f(self):\n        if 1:\n            from p import one\n",
    }
    trees = {name: ast.parse(text) for name, text in texts.items()}
    assert imports(trees) == {"p": {"p.a"}, "p.a": {"p"}, "p.b": set(), "p.c": {"p.a"}}
    assert circles(imports(trees)) == [["p", "p.a", "p"]]
