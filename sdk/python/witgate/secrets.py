"""Secrets by name: handles whose value stays with the host.

    http.post(url, json=payload, auth=secrets.bearer("api_key"))
"""

from componentize_py_types import Err

from . import _host
from .errors import DeniedByHost, SettingsError

_secrets = _host.interface("secrets")


def get(name):
    """The handle, None when the secret has no value."""
    try:
        return _secrets.get(name)
    except Err as error:
        raise DeniedByHost(error.value) from None


def require(name):
    """The handle of a secret that must have a value."""
    secret = get(name)
    if secret is None:
        raise SettingsError(f"the secret setting `{name}` has no value")
    return secret


def reveal(name):
    """The value itself. Only when the manifest has `reveal = true` for it; each time is counted."""
    try:
        return require(name).reveal()
    except Err as error:
        raise DeniedByHost(error.value) from None


def bearer(name):
    """For `auth=`: `authorization: Bearer <secret>`."""
    return ("bearer", require(name))


def basic(user, name):
    """For `auth=`: `authorization: Basic <base64(user:secret)>`."""
    return ("basic", (user, require(name)))


def header(header_name, name):
    """For `auth=`: the named header with the secret as its whole value."""
    return ("header", (header_name, require(name)))


def identity(certificate, key):
    """For `identity=`: the client certificate (mutual TLS) in these two secret settings, both PEM."""
    return (require(certificate), require(key))
