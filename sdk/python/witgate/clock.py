"""Time, from the host. `time` and `datetime` of the standard library work too."""

from . import _host

_clock = _host.interface("clock")


def now_ms():
    """Milliseconds since 1970-01-01T00:00:00Z."""
    return _clock.now_ms()


def monotonic_ns():
    """Nanoseconds of a clock that never goes back; only differences mean something."""
    return _clock.monotonic_ns()
