"""Metrics for Prometheus."""

from imgateway.adapters.prometheus.observer import PrometheusObserver
from imgateway.adapters.prometheus.workers import WorkersObserver

__all__ = ["PrometheusObserver", "WorkersObserver"]
