"""Measure how often a live gate opens: on noise, and on forecasts with a known information coefficient.

Each stream foresees returns over ``h`` bars, heavy-tailed (Student's t, four degrees of freedom), with the information
coefficient named, and gathers evidence after every outcome. It counts as open once the evidence has ever reached 20,
since a gate that is watched all the time opens at the luckiest moment. ``python benchmarks/live_gate.py`` prints the
table of ``docs/live.md``; 200 streams a line take about two minutes.
"""

from __future__ import annotations

import argparse

import numpy as np

from backtester_model_core.evaluation import EVIDENCE_WANTED, SkillEvidence

COEFFICIENTS = (0.0, 0.05, 0.08, 0.15)
HORIZONS = (1, 5)


def first_shown(rng: np.random.Generator, *, coefficient: float, horizon: int, n_bars: int) -> int | None:
    """Return after how many outcomes one stream's evidence is enough; ``None`` when it never is."""
    foreseen = rng.standard_normal(n_bars)
    noise = rng.standard_t(4, n_bars + horizon) / np.sqrt(2)
    surprise = np.array([noise[bar : bar + horizon].sum() for bar in range(n_bars)]) / np.sqrt(horizon)
    outcome = coefficient * foreseen + np.sqrt(1 - coefficient**2) * surprise
    evidence = SkillEvidence(horizon)
    for n, (excess, lean) in enumerate(zip(outcome, foreseen, strict=True), start=1):
        evidence.update([excess], [lean])
        if evidence.value >= EVIDENCE_WANTED:
            return n
    return None


def main() -> None:
    """Print the table, a line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="streams a line")
    parser.add_argument("--bars", type=int, default=2_520, help="bars a stream")
    arguments = parser.parse_args()
    print("| horizon | IC | streams that open | median bars until then |\n|---:|---:|---:|---:|", flush=True)
    for horizon in HORIZONS:
        for coefficient in COEFFICIENTS:
            rng = np.random.default_rng(1)
            shown = [
                first_shown(rng, coefficient=coefficient, horizon=horizon, n_bars=arguments.bars)
                for _ in range(arguments.runs)
            ]
            opened = [n for n in shown if n is not None]
            bars = f"{np.median(opened):,.0f}" if opened else "-"
            share = len(opened) / len(shown)
            print(f"| {horizon} | {coefficient:g} | {share:.1%} | {bars} |", flush=True)


if __name__ == "__main__":
    main()
