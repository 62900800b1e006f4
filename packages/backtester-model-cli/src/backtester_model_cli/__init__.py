"""backtester-model."""
