"""Runs Python files that were written for LiteLLM as plugins, unmodified.

`witgate plugin build custom_auth.py` makes the entry that calls `authenticator`, `log_sink`, `request_hook`, `guardrail`, `key_policy`,
`prompt_manager`, `sso` or `secret_manager` of this package with the file's source. The file runs once per instance, when the settings and the granted environment are
there; what it imports is imported at build time, because a component has no files.
"""

import os
import sys
import types

from witgate import SettingsError, settings

from . import auth as _auth
from . import guard as _guard
from . import hooks as _hooks
from . import keeper as _keeper
from . import keys as _keys
from . import logger as _logger
from . import models as _models  # only here is it part of the component
from . import prompt as _prompt
from . import sso as _sso


def authenticator(**file):
    """The factory of an authenticator, for the SDK's export."""
    return lambda given: _auth.Adapter(_load(**file), given)


def log_sink(**file):
    """The factory of a log sink."""
    return lambda given: _logger.Adapter(_load(**file), given)


def request_hook(**file):
    """The factory of a request hook."""
    return lambda given: _hooks.Adapter(_load(**file), given)


def guardrail(**file):
    """The factory of a guardrail."""
    return lambda given: _guard.Adapter(_load(**file), given)


def prompt_manager(**file):
    """The factory of a prompt manager."""
    return lambda given: _prompt.Adapter(_load(**file), given)


def key_policy(**file):
    """The factory of a key policy."""
    return lambda given: _keys.Adapter(_load(**file), given)


def sso(**file):
    """The factory of a plugin that signs in."""
    return lambda given: _sso.adapter(_load(**file), given)


def secret_manager(**file):
    """The factory of a secret manager."""
    return lambda given: _keeper.Adapter(_load(**file), given)


def _load(module, path, source, name, env):
    """Runs the file, once, and returns what it calls `name`."""
    if getattr(sys.modules.get(module), "__file__", None) == path:
        return getattr(sys.modules[module], name)
    for variable in env:
        value = settings.env(variable)
        if value is not None:
            os.environ[variable] = value
    loaded = types.ModuleType(module)
    loaded.__file__ = path
    sys.modules[module] = loaded
    try:
        exec(compile(source, path, "exec"), vars(loaded))
    except Exception as error:
        sys.modules.pop(module, None)
        line = next((entry.tb_lineno for entry in _frames(error) if entry.tb_frame.f_code.co_filename == path), 0)
        raise SettingsError(f"{path}:{line}: {type(error).__name__}: {error}") from error
    return getattr(loaded, name)


def _frames(error):
    entry = error.__traceback__
    found = []
    while entry is not None:
        found.append(entry)
        entry = entry.tb_next
    return reversed(found)
