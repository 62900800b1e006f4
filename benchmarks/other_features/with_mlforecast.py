"""Time mlforecast on eleven of the basic set's columns: ``with_mlforecast.py <bars.npz> <rounds>`` prints seconds.

It transforms lags of one series, so these are the five lags, three means, the deviation and two exponential averages
of the close; it has nothing for ranges, true ranges or volume.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import ExponentiallyWeightedMean, RollingMean, RollingStd

bars, rounds = np.load(sys.argv[1]), int(sys.argv[2])
n_bars, n_symbols = bars["close"].shape
frame = pd.DataFrame(
    {
        "unique_id": np.repeat(np.arange(n_symbols), n_bars),
        "ds": np.tile(np.arange(n_bars), n_symbols),
        "y": bars["close"].T.ravel(),
    }
)
averages = [RollingMean(5), RollingMean(10), RollingMean(20), RollingStd(20)]
averages += [ExponentiallyWeightedMean(2 / 13), ExponentiallyWeightedMean(2 / 27)]
forecast = MLForecast(models=[], freq=1, lags=[1, 2, 5, 10, 20], lag_transforms={1: averages}, num_threads=1)
seconds = []
for _ in range(rounds + 1):  # the first warms up
    started = time.process_time()
    result = forecast.preprocess(frame, dropna=False)
    seconds.append(time.process_time() - started)
assert result.shape == (n_bars * n_symbols, 3 + 11)
print(json.dumps(seconds[1:]))
