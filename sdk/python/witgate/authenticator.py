"""Authenticators: LiteLLM's `custom_auth`. They decide who makes a request."""

from dataclasses import dataclass, field


@dataclass
class AuthRequest:
    """The request to be authenticated."""

    #: The key as the client sent it, without `Bearer `; empty when there was none.
    api_key: str
    method: str
    path: str
    query: str
    #: Lower-case name and value, in order.
    headers: list
    client_ip: "str | None"

    def header(self, name):
        """The first header of this name."""
        name = name.lower()
        return next((value for given, value in self.headers if given == name), None)


@dataclass
class Identity:
    """Let in as this."""

    api_key: "str | None" = None
    key_alias: "str | None" = None
    user_id: "str | None" = None
    user_email: "str | None" = None
    role: "str | None" = None
    team_id: "str | None" = None
    team_alias: "str | None" = None
    org_id: "str | None" = None
    end_user_id: "str | None" = None
    models: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)


@dataclass
class Key:
    """Let the gateway check this key in place of the one that was sent."""

    api_key: str


@dataclass
class Denial:
    """A refusal."""

    message: str
    status: int = 401
    kind: "str | None" = None
    param: "str | None" = None


class _Decline:
    """Not mine: with `mode: auto` the gateway's own authentication decides, with `on` it is a refusal."""


def decline():
    """Leaves the request to the gateway's own authentication."""
    return _Decline()


def deny(message, status=401, kind=None, param=None):
    """Refuses."""
    return Denial(message, status, kind, param)


class Authenticator:
    """Subclass it and write `authenticate`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def authenticate(self, request):
        """Decides: return an `Identity`, a `Key`, `decline()` or `deny(…)`. An exception lets nobody in."""
        raise NotImplementedError
