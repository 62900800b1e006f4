"""Step functions of signal processing: filters, smoothers, spectra and shapes of a window, one bar at a time.

As everywhere, a step is handed one bar's value and its own state and cannot look ahead. What is symmetric in the
textbooks is one-sided here: a smoother ends at the bar itself, and a peak is known only once later bars have
confirmed it. SciPy designs a filter when its state is made, and is not imported before.
"""

from __future__ import annotations

import math

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.primitives import NAN, log
from backtester_model_core.features.steps import State
from backtester_model_core.features.window_steps import HELD, aged, hold, mean_of, spread_of

# -- Butterworth -----------------------------------------------------------------------------------------------------

TAKEN = 0  # values taken, up to the period
SECTIONS = 1  # the first of the sections: each b0, b1, b2, a1, a2, two values at rest for an input of 1, two in force
WIDTH = 9

FORGOTTEN = 1e-8
"""What is left of a filter's impulse response when older bars count as forgotten."""


def lowpass_state(period: int, order: int) -> State:
    """Return a low-pass filter at rest."""
    return _filter_state("lowpass", period, order)


def highpass_state(period: int, order: int) -> State:
    """Return a high-pass filter at rest."""
    return _filter_state("highpass", period, order)


def _filter_state(kind: str, period: int, order: int) -> State:
    from scipy import signal

    sections = signal.butter(order, 2.0 / period, kind, output="sos")
    rest = signal.sosfilt_zi(sections)
    state = [0.0]
    for (b0, b1, b2, _, a1, a2), (first, second) in zip(sections.tolist(), rest.tolist(), strict=True):
        state += [b0, b1, b2, a1, a2, first, second, 0.0, 0.0]
    return state


def filter_memory(period: int, order: int) -> int:
    """Return the bars after which a filter has forgotten its start, by the pole nearest to the unit circle.

    Poles of a Butterworth filter are distinct, but close ones ring together: hence once more the order.
    """
    from scipy import signal

    _, poles, _ = signal.butter(order, 2.0 / period, output="zpk")
    return period + order + math.ceil(math.log(FORGOTTEN) / math.log(max(abs(poles).max(), 0.01)))


def butterworth(state: State, x: float, period: int, order: int) -> float:
    """Pass a value through the sections of a filter, the transposed direct form II of each."""
    if x - x != 0.0:
        return NAN
    n_sections = (order + 1) // 2
    if state[TAKEN] == 0.0:  # begin as if the first value had been there for ever
        for number in range(n_sections):
            at = SECTIONS + number * WIDTH
            state[at + 7] = state[at + 5] * x
            state[at + 8] = state[at + 6] * x
    for number in range(n_sections):
        at = SECTIONS + number * WIDTH
        out = state[at] * x + state[at + 7]
        state[at + 7] = state[at + 1] * x - state[at + 3] * out + state[at + 8]
        state[at + 8] = state[at + 2] * x - state[at + 4] * out
        x = out
    if state[TAKEN] < period:
        state[TAKEN] += 1.0
    return x if state[TAKEN] >= period else NAN


def butterworth_lowpass(state: State, x: float, period: int, order: int) -> float:
    """Return what a Butterworth filter of that order lets pass of periods longer than that many bars."""
    return butterworth(state, x, period, order)


def butterworth_highpass(state: State, x: float, period: int, order: int) -> float:
    """Return what a Butterworth filter of that order lets pass of periods shorter than that many bars."""
    return butterworth(state, x, period, order)


# -- Savitzky and Golay ------------------------------------------------------------------------------------------------


def smoother_state(window: int, degree: int) -> State:
    """Return an empty window, and behind it each value's share in the polynomial's last, the oldest's first."""
    if degree >= window:
        raise ExpressionError(
            f"A polynomial of degree {degree} needs more than {window} bars. Widen the window."
        )
    from scipy import signal

    shares = signal.savgol_coeffs(window, degree, pos=window - 1, use="dot")
    return [0.0] * (HELD + window) + [float(share) for share in shares]


def smoothed(state: State, x: float, window: int) -> float:
    """Return the last value of the polynomial through a full window, relative to the latest value."""
    total = 0.0
    for age in range(window):
        total += state[HELD + window + age] * (aged(state, age, window) - x)
    return total


def savgol(state: State, x: float, window: int, _degree: int) -> float:
    """Return where a polynomial fitted to the last n values ends: Savitzky and Golay (1964), one-sided."""
    return x + smoothed(state, x, window) if hold(state, x, window) else NAN


def detrend(state: State, x: float, window: int, _degree: int) -> float:
    """Return the latest value less where a polynomial fitted to the last n values ends."""
    return -smoothed(state, x, window) if hold(state, x, window) else NAN


# -- spectrum ----------------------------------------------------------------------------------------------------------


def spectrum_state(window: int, shortest: int, longest: int) -> State:
    """Return an empty window."""
    if not shortest <= longest <= window:
        raise ExpressionError(
            f"Periods from {shortest} to {longest} bars do not fit a window of {window}: give the shorter first, "
            "and none longer than the window."
        )
    return [0.0] * (HELD + window)


def spectral_energy(state: State, x: float, window: int, shortest: int, longest: int) -> float:
    """Return the share of the last n values' variance at periods from the shortest to the longest; 0 without any."""
    if not hold(state, x, window):
        return NAN
    from scipy.fft import rfft

    values = [aged(state, age, window) - x for age in range(window)]
    energy = [part.real * part.real + part.imag * part.imag for part in rfft(values).tolist()]
    total = within = 0.0
    for cycles in range(1, len(energy)):
        both = energy[cycles] if 2 * cycles == window else 2.0 * energy[cycles]
        total += both
        if cycles * shortest <= window <= cycles * longest:
            within += both
    return within / total if total > 0.0 else 0.0


# -- shapes of a window ------------------------------------------------------------------------------------------------


def counting_state(window: int, bins: int) -> State:
    """Return an empty window and its bins."""
    return [0.0] * (HELD + window + bins)


def entropy_of(state: State, first: int, n_bins: int, total: int) -> float:
    """Return the entropy of counts over its largest possible value."""
    entropy = 0.0
    for at in range(first, first + n_bins):
        if state[at] > 0.0:
            share = state[at] / total
            entropy -= share * log(share)
    return entropy / log(float(n_bins))


def rolling_entropy(state: State, x: float, window: int, bins: int) -> float:
    """Return the entropy, 0 to 1, of the last n values' counts in equal bins: Shannon (1948); 0 when all are equal."""
    if not hold(state, x, window):
        return NAN
    low = high = x
    for slot in range(HELD, HELD + window):
        if state[slot] < low:
            low = state[slot]
        elif state[slot] > high:
            high = state[slot]
    if high == low:
        return 0.0
    first = HELD + window
    for at in range(first, first + bins):
        state[at] = 0.0
    for slot in range(HELD, HELD + window):
        place = int((state[slot] - low) / (high - low) * bins)
        state[first + (place if place < bins else bins - 1)] += 1.0
    return entropy_of(state, first, bins, window)


ORDERS = 6


def patterns_state(window: int) -> State:
    """Return an empty window and a count for each order of three values."""
    return [0.0] * (HELD + window + ORDERS)


def order_of(a: float, b: float, c: float) -> int:
    """Return the number of the order that three values are in; of equal ones the earlier counts as smaller."""
    if a <= b:
        if b <= c:
            return 0
        return 1 if a <= c else 2
    if c < b:
        return 5
    return 4 if c < a else 3


def permutation_entropy(state: State, x: float, window: int) -> float:
    """Return the entropy, 0 to 1, of the orders of three values in a row among the last n: Bandt and Pompe (2002)."""
    if not hold(state, x, window):
        return NAN
    first = HELD + window
    for at in range(first, first + ORDERS):
        state[at] = 0.0
    a = aged(state, 0, window)
    b = aged(state, 1, window)
    for age in range(2, window):
        c = aged(state, age, window)
        state[first + order_of(a, b, c)] += 1.0
        a = b
        b = c
    return entropy_of(state, first, ORDERS, window - 2)


def hurst(state: State, x: float, window: int) -> float:
    """Return the Hurst exponent of the last n values: 0.5 for a random walk, above for trends, below for reversion.

    The slope of the logarithm of the mean absolute change over 1, 2, 4, … bars, up to a quarter of the window, on
    the logarithm of those bars: Di Matteo, Aste and Dacorogna (2003), Physica A 324, 183-188, equation 1 with q = 1.
    0.5 when all are equal.
    """
    if not hold(state, x, window):
        return NAN
    n = sum_x = sum_y = sum_xx = sum_xy = 0.0
    lag = 1
    while 4 * lag <= window:
        change = 0.0
        for age in range(lag, window):
            change += math.fabs(aged(state, age, window) - aged(state, age - lag, window))
        if not change > 0.0:
            return 0.5
        at = log(float(lag))
        size = log(change / (window - lag))
        n += 1.0
        sum_x += at
        sum_y += size
        sum_xx += at * at
        sum_xy += at * size
        lag *= 2
    return (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x * sum_x)


def rolling_jarque_bera(state: State, x: float, window: int) -> float:
    """Return how far the last n values are from normal by skewness and kurtosis: Jarque and Bera (1980)."""
    if not hold(state, x, window):
        return NAN
    mean = mean_of(state, x, window)
    variance = spread_of(state, mean, window) / window
    if not variance > 0.0:
        return 0.0
    third = fourth = 0.0
    for slot in range(HELD, HELD + window):
        square = (state[slot] - mean) * (state[slot] - mean) / variance
        fourth += square * square
        third += square * (state[slot] - mean)
    skewness = third / window / math.sqrt(variance)
    excess = fourth / window - 3.0
    return window / 6.0 * (skewness * skewness + excess * excess / 4.0)


# -- peaks -------------------------------------------------------------------------------------------------------------


def peak_memory(lag: int) -> State:
    """Return an empty window of a value with ``lag`` on either side, and no peak yet."""
    return [0.0] * (HELD + 2 * lag + 2)


def peak_state(state: State, x: float, lag: int) -> float:
    """Return 1 from the bar that confirms a peak to the one that confirms a trough, then -1; 0 before any.

    A peak is a value above those of the n bars before it and of the n after it: the last of these confirms it.
    """
    window = 2 * lag + 1
    if not hold(state, x, window):
        return NAN
    middle = aged(state, lag, window)
    is_peak = is_trough = True
    for age in range(window):
        if age != lag:
            other = aged(state, age, window)
            if other >= middle:
                is_peak = False
            if other <= middle:
                is_trough = False
    if is_peak:
        state[HELD + window] = 1.0
    elif is_trough:
        state[HELD + window] = -1.0
    return state[HELD + window]
