"""Time Qlib's own engine on Alpha158: ``with_qlib.py <bars.npz> <rounds> <expressions.json>`` prints seconds.

The bars are written as Qlib stores them and read back by it, as its engine reads nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import qlib
from qlib.data import D

warnings.filterwarnings("ignore")
bars, rounds = np.load(sys.argv[1]), int(sys.argv[2])
expressions = json.loads(Path(sys.argv[3]).read_text())
n_bars, n_symbols = bars["close"].shape
with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    days = [str(day.date()) for day in pd.bdate_range("2010-01-01", periods=n_bars)]
    names = [f"S{number:03}" for number in range(n_symbols)]
    for kind, lines in {
        "calendars/day.txt": days,
        "instruments/all.txt": [f"{name}\t{days[0]}\t{days[-1]}" for name in names],
    }.items():
        (root / kind).parent.mkdir()
        (root / kind).write_text("\n".join(lines) + "\n")
    for number, name in enumerate(names):
        (root / "features" / name.lower()).mkdir(parents=True)
        for column in bars.files:
            values = np.append(0, bars[column][:, number]).astype("<f4")
            values.tofile(root / "features" / name.lower() / f"{column}.day.bin")
    qlib.init(
        provider_uri=folder,
        region="us",
        kernels=1,
        expression_cache=None,
        dataset_cache=None,
        logging_level=40,
    )
    seconds = []
    for _ in range(rounds):
        qlib.data.cache.H.clear()
        started = time.process_time()
        frame = D.features(names, list(expressions.values()), freq="day")
        seconds.append(time.process_time() - started)
    assert frame.shape == (n_bars * n_symbols, len(expressions))
print(json.dumps(seconds))
