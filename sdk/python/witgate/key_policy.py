"""Key policies: LiteLLM's `custom_key_generate`. They may refuse a request for a virtual key, or change it."""

from dataclasses import dataclass


@dataclass
class KeyRequest:
    """A request for a key. Nothing has been written yet."""

    #: `generate` or `update`.
    action: str
    #: Who asks: `key_hash`, `user_id`, `team_id`, `role`, …
    caller: object
    #: The body as the client sent it, a dict.
    body: dict


@dataclass
class KeyDenial:
    """A refusal."""

    message: str


@dataclass
class KeyEdit:
    """Go on with this body."""

    body: dict


class _Allowed:
    """Go on."""


def allow_key():
    """Lets the request through."""
    return _Allowed()


def edit_key(body):
    """Goes on with this body in place of the client's."""
    return KeyEdit(body)


def deny_key(message):
    """Refuses with status 403."""
    return KeyDenial(message)


class KeyPolicy:
    """Subclass it and write `judge`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def judge(self, request):
        """Decides: return `allow_key()`, `edit_key(…)` or `deny_key(…)`. An exception refuses the request."""
        raise NotImplementedError
