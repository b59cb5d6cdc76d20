"""What the kinds' exports share: finding the plugin, making it once per instance, and turning exceptions
into the errors of the contract."""

import inspect
import os
import random as _std_random
import traceback

from componentize_py_types import Err
from wit_world.imports import types

from . import log, settings
from .errors import DeniedByHost, Failed, PluginError, SettingsError, Unavailable

_KINDS = {
    SettingsError: types.PluginError_InvalidSettings,
    DeniedByHost: types.PluginError_Denied,
    Unavailable: types.PluginError_Unavailable,
    Failed: types.PluginError_Failed,
}


class Single:
    """The one plugin of an instance."""

    def __init__(self, base):
        self._base = base
        self._make = None
        self._plugin = None

    def use(self, module):
        """Takes the plugin class from the author's module. Runs at build time: an error fails the build."""
        found = [
            member
            for member in vars(module).values()
            if inspect.isclass(member) and issubclass(member, self._base) and member is not self._base
        ]
        # A class that others of the module are built on is no plugin of its own.
        found = [one for one in found if not any(other is not one and issubclass(other, one) for other in found)]
        if len(found) != 1:
            names = ", ".join(one.__name__ for one in found) or "none"
            raise TypeError(f"{module.__name__}.py must define one subclass of witgate.{self._base.__name__}; found {names}")
        self._make = found[0]

    def use_factory(self, make):
        """Takes a function from settings to plugin, in place of a class."""
        self._make = make

    def get(self):
        """The plugin, made at the first call."""
        if self._plugin is None:
            # The build froze the generator's state, and every instance begins with that copy.
            _std_random.seed(os.urandom(16))
            self._plugin = self._make(settings.all())
        return self._plugin


def guarded(function):
    """The function with its exceptions as errors of the contract."""

    def call(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except PluginError as error:
            kind = next(kind for base, kind in _KINDS.items() if isinstance(error, base) or base is Failed)
            raise Err(kind(str(error))) from None
        except Exception as error:
            log.error(traceback.format_exc())
            raise Err(types.PluginError_Failed(f"{type(error).__name__}: {error}{_place(error)}")) from None

    return call


def _place(error):
    """Where the author's code was left."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/witgate/" not in frame.filename]
    return f" (at {os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else ""
