"""Randomness from the operating system."""

from . import _host

_random = _host.interface("random")


def random_bytes(count):
    """`count` random bytes, at most 64 KiB."""
    return _random.bytes(count)


def uuid():
    """A random (version 4) UUID as text."""
    return _random.uuid()
