"""One change at a time of a module's source: what mutation testing asks the tests to notice.

A comparison is moved to its boundary or negated, an arithmetic operator swapped, a number made one larger or
smaller, ``and`` swapped for ``or``, a condition negated, a slice or a range made one longer or shorter, a
statement left out, a result returned with the other sign.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPPOSITES = {"bool": "not", "BoolArray": "~", "float": "-", "FloatArray": "-", "int": "-"}


@dataclass(frozen=True)
class Mutant:
    """One change of one module: its name, and the module's source with the change."""

    name: str
    module: str
    source: str

    def diff(self, original: str) -> str:
        """Return the lines that the change takes away and puts in their place."""
        lines = difflib.unified_diff(original.splitlines(), self.source.splitlines(), n=0, lineterm="")
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its source."""
    tree = ast.parse(source)
    raw = source.encode()
    lines = [0]  # where each begins
    for line in raw.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    found: list[tuple[int, str]] = []
    for node, replacement in changes(tree):
        first = lines[node.lineno - 1] + node.col_offset
        stop = lines[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found.append((first, (raw[:first] + replacement.encode() + raw[stop:]).decode()))
    found.sort(key=lambda change: change[0])
    distinct = dict.fromkeys(text for _, text in found if text != source)
    name = Path(module).name
    return [Mutant(f"{name}#{number}", module, text) for number, text in enumerate(distinct)]


def changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield each node to replace, with the text that replaces it."""
    for node in computed(tree):
        if isinstance(node, ast.expr):
            for changed in changed_expressions(node):
                text = ast.unparse(changed)
                yield node, f"({text})" if isinstance(node, ast.BoolOp | ast.UnaryOp) else text
        elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
            yield node, ast.unparse(ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value))
        elif isinstance(node, ast.FunctionDef):
            yield from ((statement, "pass") for statement in dispensable(node))
            yield from opposite_results(node)
        if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare):
            yield node.test, f"(not ({ast.unparse(node.test)}))"


def computed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what computes: no types, no decorators, no parts of messages, whose places Python 3.11 does not tell."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield child
                yield from computed(child)


def changed_expressions(node: ast.expr) -> Iterator[ast.expr]:
    """Yield an expression with one thing changed at its top."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                changed = deepcopy(node)
                changed.ops[place] = other()
                yield changed
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    elif isinstance(node, ast.Slice) or (isinstance(node, ast.Call) and ast.unparse(node.func) == "range"):
        yield from moved_ends(node)


def moved_ends(node: ast.Slice | ast.Call) -> Iterator[ast.expr]:
    """Yield a slice or a range with one end one later or earlier."""
    if isinstance(node, ast.Slice):
        yield from (ast.Slice(end, node.upper, node.step) for end in moved(node.lower))
        yield from (ast.Slice(node.lower, end, node.step) for end in moved(node.upper))
    else:
        for place, argument in enumerate(node.args):
            for end in moved(argument):
                yield ast.Call(node.func, [*node.args[:place], end, *node.args[place + 1 :]], [])


def moved(end: ast.expr | None) -> Iterator[ast.expr]:
    """Yield an end plus and minus one, where it is neither absent nor a number, which is changed by itself."""
    if end is not None and not isinstance(end, ast.Constant):
        yield from (ast.BinOp(end, operator, ast.Constant(1)) for operator in (ast.Add(), ast.Sub()))


def dispensable(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield statements without which a function still runs: not the only one that binds a name."""
    bound = names_bound(function)
    for node in ast.walk(function):
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, ast.Assign):
            is_spare = all(bound.count(name) > 1 for target in node.targets for name in names_bound(target))
        elif isinstance(node, ast.Expr):
            is_spare = not isinstance(node.value, ast.Constant)  # a docstring
        else:
            is_spare = isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)
        if is_spare:
            yield node


def names_bound(tree: ast.AST) -> list[str]:
    """Return the names that are bound somewhere below, each as often as it is."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def opposite_results(function: ast.FunctionDef) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the returns of numbers and truths, each with that of the opposite."""
    kind = ast.unparse(function.returns) if function.returns is not None else ""
    for node in ast.walk(function):
        if kind in OPPOSITES and isinstance(node, ast.Return) and node.value is not None:
            yield node, f"return {OPPOSITES[kind]} ({ast.unparse(node.value)})"
