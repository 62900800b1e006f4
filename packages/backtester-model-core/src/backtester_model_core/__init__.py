"""Machine-learning models in trading backtests: prepare, train, predict, signal."""
