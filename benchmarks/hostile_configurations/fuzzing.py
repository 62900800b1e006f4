"""Files and expressions for hypothesis to make: mostly almost right, so that they get far, and then bent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

from hostile_configurations.places import put_at_mark
from hostile_configurations.strings import STRINGS

NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 20, 10**9, 2**63, 10**400, 0.0, -0.5, 0.5, 1e308, float("inf"), float("nan")]
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | st.sampled_from(STRINGS)
VALUES = st.recursive(
    SCALARS,
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.text(max_size=8), held, max_size=3),
    max_leaves=5,
)
LIKELY = st.sampled_from(
    ["close", "basic", "auto", "365D", "2020-01-31", "any", "bars.csv", "close / ref(close, 2)"]
)

COLUMNS = ["open", "high", "low", "close", "volume", "$close", "col('close')", "nothing"]
CALLS = [
    "ref({}, {n})",
    "rolling_mean({}, {n})",
    "ema({}, {n})",
    "rolling_corr({}, {}, {n})",
    "abs({})",
    "-{}",
    "~{}",
]
SIGNS = [" + ", " - ", " * ", " / ", " > ", " & ", " | ", " == ", " ** ", " if ", " and ", ".", ", "]
WHOLE = ["0", "1", "2", "5", "14", "20", "-1", "10000", "10001", "1e9", "2.5", "9" * 40, "close"]


@st.composite
def documents(draw: st.DrawFn, places: Mapping[str, Sequence[Any]]) -> tuple[str, bytes]:
    """Make a file's ending and its content."""
    framework = draw(st.sampled_from(sorted(places)))
    values: dict[str, Any] = {"framework": framework, "lookback_period": 5}
    for place in draw(st.lists(st.sampled_from(places[framework]), max_size=3)):
        values |= put_at_mark(place, draw(LIKELY | st.sampled_from(STRINGS) | st.text(max_size=30)))
    for name in draw(st.lists(st.sampled_from(_names(places[framework])), max_size=2)):
        values[name] = draw(VALUES)
    if draw(st.booleans()):
        values["framework"] = framework
    ending = draw(st.sampled_from(["json", "yaml", "toml"]))
    return ending, draw(_bent(_written(values, ending)))


def _names(places: Sequence[Any]) -> list[str]:
    return sorted({name for place in places for name in place if isinstance(name, str)})


def _written(values: Mapping[str, Any], ending: str) -> bytes:
    if ending == "yaml":
        return yaml.safe_dump(json.loads(json.dumps(values)), allow_unicode=True).encode("utf-8", "replace")
    if ending == "json":
        return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")
    lines = (f"{json.dumps(str(name))} = {_as_toml(value)}" for name, value in values.items())
    return "\n".join(lines).encode("utf-8", "replace")


def _as_toml(value: Any) -> str:
    match value:
        case dict():
            return (
                "{"
                + ", ".join(f"{json.dumps(str(key))} = {_as_toml(held)}" for key, held in value.items())
                + "}"
            )
        case list():
            return "[" + ", ".join(map(_as_toml, value)) + "]"
        case float():
            return repr(value)
    return json.dumps(value)


@st.composite
def _bent(draw: st.DrawFn, content: bytes) -> bytes:
    """Change a few bytes, in about half of the cases."""
    bent = bytearray(content)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 8]))):
        at = draw(st.integers(0, len(bent)))
        match draw(st.sampled_from(["insert", "delete", "repeat", "replace"])):
            case "insert":
                bent[at:at] = draw(st.binary(max_size=6) | st.sampled_from(STRINGS).map(_encoded))
            case "delete":
                del bent[at : at + draw(st.integers(1, 20))]
            case "repeat":
                bent[at:at] = bent[at : at + 40] * draw(st.integers(1, 20))
            case "replace":
                bent[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(bent)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def expressions() -> st.SearchStrategy[str]:
    """Make expressions: well-formed ones, ones with wrong parts, pieces in any order, and any text."""
    leaf = st.sampled_from(COLUMNS) | st.sampled_from(WHOLE)
    grown = st.recursive(leaf, lambda part: _called(part) | _joined(part), max_leaves=12)
    pieces = st.lists(st.sampled_from([*COLUMNS, *SIGNS, *WHOLE, "(", ")", "ref(", "ema("]), max_size=25).map(
        "".join
    )
    return grown | pieces | st.sampled_from(STRINGS) | st.text(max_size=80) | _repeated()


def _called(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda call, first, second, n: call.format(first, second, n=n),
        *(st.sampled_from(CALLS), part, part, st.sampled_from(WHOLE)),
    )


def _joined(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda left, sign, right: f"({left}{sign}{right})", part, st.sampled_from(SIGNS), part)


def _repeated() -> st.SearchStrategy[str]:
    piece = st.sampled_from(["(", "-", "~", "abs(", "close+", "[", "close.", "ref(ref("])
    return st.builds(lambda text, times: text * times, piece, st.integers(1, 400))
