"""Metrics for Prometheus."""

from imgateway.adapters.prometheus.observer import PrometheusObserver

__all__ = ["PrometheusObserver"]
