"""Mutation testing changes what it says it changes, one thing at a time."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

MUTANTS = runpy.run_path(str(Path(__file__).parents[1] / "tools/mutants.py"))
mutants_of = MUTANTS["mutants_of"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c = a < b", ["c = a <= b", "c = a >= b"]),
        ("c = a == b", ["c = a != b"]),
        ("c = a < b <= d", ["c = a <= b <= d", "c = a >= b <= d", "c = a < b < d", "c = a < b > d"]),
        ("c = a + b * d", ["c = a - b * d", "c = a + b / d"]),
        ("c += a", ["c -= a"]),
        ("c = 3", ["c = 4", "c = 2"]),
        ("c = 0.5", ["c = 1.5", "c = -0.5"]),
        ("c = True", ["c = False"]),
        ("c = a and b", ["c = (a or b)"]),
        ("c = -a", ["c = (a)"]),
        ("c = a if b else d", ["c = a if (not (b)) else d"]),
        ("c = a[b:]", ["c = a[b + 1:]", "c = a[b - 1:]"]),
        ("c = a[:b]", ["c = a[:b + 1]", "c = a[:b - 1]"]),
        (
            "c = range(a, b)",
            [f"c = range({ends})" for ends in ("a + 1, b", "a - 1, b", "a, b + 1", "a, b - 1")],
        ),
    ],
)
def test_a_line_is_changed_in_every_way(line: str, expected: list[str]) -> None:
    assert [mutant.source for mutant in mutants_of("module.py", line)] == expected


@pytest.mark.parametrize(
    "source",
    [
        "c: Literal[3] = a",
        'c = f"{a + 1} of {3}"',
        "@dataclass(frozen=True)\nclass C:\n    pass",
        'def f(a: Literal[3]) -> Literal[3]:\n    """Return 3."""\n    return a',
    ],
    ids=["type", "message", "decorator", "docstring"],
)
def test_what_computes_nothing_is_left_alone(source: str) -> None:
    assert mutants_of("module.py", source) == []


def test_a_statement_is_left_out_unless_nothing_else_binds_its_name() -> None:
    source = "def f(a):\n    b = a\n    c = a\n    c = b\n    a.clear()\n    a[b] = c\n    raise c"

    without = [mutant.source.split("\n    ")[1:].index("pass") for mutant in mutants_of("module.py", source)]

    assert without == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "changed"), [("bool", "not (a)"), ("float", "- (a)"), ("FloatArray", "- (a)")]
)
def test_a_result_becomes_its_opposite(kind: str, changed: str) -> None:
    (mutant,) = mutants_of("module.py", f"def f(a) -> {kind}:\n    return a")

    assert mutant.source == f"def f(a) -> {kind}:\n    return {changed}"


def test_a_mutant_has_a_name_and_shows_its_change_alone() -> None:
    source = 'word = "é"; c = 1\nd = (\n    a\n    <= b\n)\n'

    third = mutants_of("rooms/module.py", source)[2]

    assert third.name == "module.py#2"
    assert third.diff(source).splitlines() == ["@@ -3,2 +3 @@", "-    a", "-    <= b", "+    a < b"]
