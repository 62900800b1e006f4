"""Experiment tracking: every walk-forward becomes a run of MLflow."""
