"""Metrics of the plugin's own, on `/metrics` as `witgate_plugin_custom_<name>`."""

from . import _host

_metrics = _host.interface("metrics")


def add(name, amount=1, **labels):
    """Adds to a counter."""
    _metrics.add(name, _pairs(labels), amount)


def observe(name, value, **labels):
    """Records a value in a histogram (seconds)."""
    _metrics.observe(name, _pairs(labels), float(value))


def _pairs(labels):
    return [(key, str(value)) for key, value in labels.items()]
