"""Named sets of features, each a file of expressions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backtester_model_core.catalog import Catalog
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.expansion import expand
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.parse import parse_expression


@dataclass(frozen=True)
class FeatureSet:
    """Columns to compute together: a TOML file of ``name = "expression"`` lines, or the same as a mapping.

    A name with a placeholder, such as ``ma_{n in 5, 10, 20}``, is one line for several columns: see :func:`expand`.
    Nothing is read before it is asked for.
    """

    source: Path | Mapping[str, str]

    def texts(self) -> dict[str, str]:
        """Return each column's expression as it is written.

        Raises:
            ExpressionError: When the file cannot be read, or holds anything but texts.
        """
        if isinstance(self.source, Mapping):
            return dict(self.source)
        try:
            texts = tomllib.loads(self.source.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ExpressionError(f"The feature set {self.source} cannot be read: {error}") from error
        for name, text in texts.items():
            if not isinstance(text, str):
                raise ExpressionError(
                    f"The feature set {self.source} has no expression at {name!r}: {text!r}."
                )
        return texts

    def expressions(self) -> dict[str, Expression]:
        """Return each column's expression.

        Raises:
            ExpressionError: For the first that cannot be read, with its name.
        """
        return {name: _parse_named(name, text) for name, text in expand(self.texts()).items()}


def _parse_named(name: str, text: str) -> Expression:
    try:
        return parse_expression(text)
    except ExpressionError as error:
        raise ExpressionError(f"The feature {name!r}: {error}") from error


FEATURE_SETS: Catalog[FeatureSet] = Catalog("feature set")
"""Every feature set by its name; extensions may add theirs."""

for _name in ("basic", "technical", "alpha158", "alpha360"):
    FEATURE_SETS.add(_name, FeatureSet(Path(__file__).with_name(f"{_name}.toml")))


def feature_set(name: str) -> dict[str, Expression]:
    """Return the columns of a registered set.

    Raises:
        ConfigError: When there is no such set.
        ExpressionError: When one of its expressions cannot be read.

    Example:
        >>> str(feature_set("basic")["return_5"])
        'close / ref(close, 5) - 1'
    """
    return FEATURE_SETS[name].expressions()
