"""Use the installed packages as a stranger would: import them, list the adapters, walk a model forward."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import backtester_model_cli
import backtester_model_core
import backtester_model_isolated
import backtester_model_scipy
import backtester_model_sklearn
import backtester_model_tf
import backtester_model_torch
from backtester_model_cli.sample_data import sample_bars
from backtester_model_core.factory import ModelFactory
from backtester_model_core.walkforward import walk_forward


def expect(condition: bool, fault: str) -> None:
    """End the program with the fault, unless the condition holds."""
    if not condition:
        raise SystemExit(fault)


def main() -> None:
    """Check imports, entry points, the command, and one small run."""
    adapters = (
        backtester_model_isolated,
        backtester_model_scipy,
        backtester_model_sklearn,
        backtester_model_tf,
        backtester_model_torch,
    )
    packages = (backtester_model_cli, backtester_model_core, *adapters)
    for package in packages:
        installed = str(package.__file__).startswith(sysconfig.get_path("purelib"))
        expect(installed, f"{package.__name__} comes from {package.__file__}")

    available = [info.name for info in ModelFactory.available()]
    expect(
        available == ["isolated", "pytorch", "scipy", "sklearn", "tensorflow"],
        f"the adapters are {available}",
    )

    command = [str(Path(sys.executable).parent / "backtester-model"), "adapters"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expect("sklearn" in listed, f"the command lists {listed}")

    bars = sample_bars(["FB"])
    backtester_model_isolated.allow_interpreter(sys.executable)
    needed = {"isolated": {"python": sys.executable, "adapter": "sklearn"}}
    for framework in available:
        result = walk_forward({"framework": framework, **needed.get(framework, {})}, bars)
        expect(result.signals.index.equals(bars.index), "a bar has no signal of its own")
        sys.stdout.write(f"{len(result.signals)} signals of {framework} from the installed packages\n")


if __name__ == "__main__":
    main()
