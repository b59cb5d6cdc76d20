"""Values that outlive an instance, for the plugin or for one request (between its phases).

    kv.set("seen", b"1", ttl_ms=60_000)
    kv.get("seen", scope="request")
"""

from componentize_py_types import Err

from . import _host
from .errors import Failed

_kv = _host.interface("kv")


def get(key, scope="plugin"):
    """The value as bytes, None when there is none."""
    return _kv.get(_scope(scope), key)


def set(key, value, ttl_ms=None, scope="plugin"):
    """Keeps bytes or text, for so many milliseconds when given."""
    try:
        _kv.set(_scope(scope), key, value.encode() if isinstance(value, str) else bytes(value), ttl_ms)
    except Err as error:
        raise Failed(error.value) from None


def delete(key, scope="plugin"):
    """Removes it; whether it was there."""
    return _kv.delete(_scope(scope), key)


def _scope(name):
    return _kv.Scope[name.upper()]
