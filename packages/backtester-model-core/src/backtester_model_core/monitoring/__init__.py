"""What is watched while a model serves: features, predictions, data quality, latency, live skill, rising errors."""

from backtester_model_core.monitoring.detectors import DETECTORS, Adwin, Ddm, Detector, PageHinkley
from backtester_model_core.monitoring.drift import MEASURES, DriftMeasure, FeatureMeasure, JointMeasure
from backtester_model_core.monitoring.hooks import MonitoringHooks
from backtester_model_core.monitoring.latency import Latency
from backtester_model_core.monitoring.monitor import Monitor
from backtester_model_core.monitoring.outcomes import KnownOutcomes, middle_of
from backtester_model_core.monitoring.reference import Reference, TrainingRows

__all__ = [
    "DETECTORS",
    "MEASURES",
    "Adwin",
    "Ddm",
    "Detector",
    "DriftMeasure",
    "FeatureMeasure",
    "JointMeasure",
    "KnownOutcomes",
    "Latency",
    "Monitor",
    "MonitoringHooks",
    "PageHinkley",
    "Reference",
    "TrainingRows",
    "middle_of",
]
