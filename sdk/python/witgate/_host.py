"""The generated bindings, as far as the kind of plugin has them.

Each kind's world imports its own part of the host: an authenticator has no `files`, a log sink no `body`.
"""

import importlib


class _Missing:
    """Stands for an interface that this kind of plugin cannot import."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, member):
        raise RuntimeError(f"this kind of plugin has no access to witgate:host/{self._name} ({member})")


def interface(name):
    """The bindings of an imported interface."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ImportError:
        return _Missing(name)
