"""Planted leaks and suspicious-looking clean twins, for the checks against look-ahead to be tried on."""

from look_ahead_cases import features, fits_and_fills, joins_and_caches, labels_and_folds, walk_forwards
from look_ahead_cases.case import Pair

PAIRS: list[Pair] = [
    *features.PAIRS,
    *joins_and_caches.PAIRS,
    *labels_and_folds.PAIRS,
    *fits_and_fills.PAIRS,
    *walk_forwards.PAIRS,
]
UNSEEN = features.UNSEEN
