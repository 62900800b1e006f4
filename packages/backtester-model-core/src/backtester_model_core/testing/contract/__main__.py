"""List the checks of every contract, or of those that are named: python -m backtester_model_core.testing.contract."""

from __future__ import annotations

import sys

from backtester_model_core import testing
from backtester_model_core.testing.contract.contract import Contract

CONTRACTS: dict[str, type[Contract]] = {
    "adapter": testing.AdapterContract,
    "model": testing.ModelContract,
    "features": testing.FeatureContract,
    "labels": testing.LabelContract,
    "extension": testing.ExtensionContract,
    "data-source": testing.DataSourceContract,
}


def main(names: list[str]) -> str:
    """Return the checks of contracts as text: each with what to look at when it fails."""
    unknown = [name for name in names if name not in CONTRACTS]
    if unknown:
        raise SystemExit(f"No contract {unknown[0]!r}. There are: {', '.join(CONTRACTS)}.")
    lines = []
    for name in names or CONTRACTS:
        described = CONTRACTS[name].described()
        lines.append(f"{CONTRACTS[name].__name__}: {len(described)} checks")
        lines += [f"  {check}\n      {what}" for check, what in described.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(main(sys.argv[1:]))
