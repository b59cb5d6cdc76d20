"""The exceptions by which a plugin says that it could not do its work.

Any other exception counts as `Failed`, and its traceback goes to the plugin's log.
"""


class PluginError(Exception):
    """Base of the four below."""


class SettingsError(PluginError):
    """A setting is missing or wrong. Name it and say what would be right."""


class DeniedByHost(PluginError):
    """The host refused something; the text has the line of configuration that would allow it."""


class Unavailable(PluginError):
    """The other side is unreachable, slow or in trouble; a later try may work."""


class Failed(PluginError):
    """Anything else; a later try with the same input would fail the same way."""
