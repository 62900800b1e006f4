"""LightGBM as a backtester-model adapter: all of it is in ``adapter.py``."""
