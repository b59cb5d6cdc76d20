"""The plugin's settings, and granted environment variables. `self.settings` of a plugin is `all()`."""

import json as _json

from componentize_py_types import Err

from . import _host
from .errors import DeniedByHost

_settings = _host.interface("settings")


def get(name):
    """One setting as text: a string as it is, any other value as JSON. None when it has no value."""
    return _settings.get(name)


def all():
    """Every setting that is not secret, as a dict."""
    return _json.loads(_settings.all())


def env(name):
    """A granted environment variable of the gateway, None when it is not set."""
    try:
        return _settings.env(name)
    except Err as error:
        raise DeniedByHost(error.value) from None
