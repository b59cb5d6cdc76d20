"""Log lines under the plugin's name; keyword arguments become fields. Secrets are masked by the host.

    log.info("token accepted", team="red")
"""

from . import _host

_log = _host.interface("log")


def _writer(level):
    def write(message, **fields):
        pairs = [(key, str(value)) for key, value in fields.items()]
        _log.write(_log.Level[level], str(message), pairs)

    write.__name__ = level.lower()
    write.__doc__ = f"Writes a line of level {level.lower()}."
    return write


trace = _writer("TRACE")
debug = _writer("DEBUG")
info = _writer("INFO")
warn = _writer("WARN")
error = _writer("ERROR")
