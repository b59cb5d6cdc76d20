"""Files that the operator granted by name (`grants.files` in the configuration)."""

from componentize_py_types import Err

from . import _host
from .errors import Failed

_files = _host.interface("files")


def append(name, data):
    """Appends bytes or text to the granted file in one write; the name `stdout` is the gateway's standard output."""
    try:
        _files.append(name, data.encode() if isinstance(data, str) else bytes(data))
    except Err as error:
        raise Failed(error.value) from None
