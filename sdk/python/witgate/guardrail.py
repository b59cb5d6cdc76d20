"""Guardrails: judge, and where allowed edit, what goes in and what comes out."""

import json as _json
from dataclasses import dataclass, field


@dataclass
class Call:
    """What is known of the call."""

    id: str
    #: `pre_call`, `during_call`, `post_call` or `logging_only`
    phase: str
    call_type: str
    #: The model group that the client asked for.
    model: str
    #: Who calls: `key_hash`, `key_alias`, `user_id`, `team_id`, `org_id`, `end_user_id`, `role`.
    principal: object
    #: The caller's own parameters for this guardrail.
    params: dict


@dataclass
class Text:
    """One text that a person or model wrote."""

    #: JSON pointer of the text in the body.
    pointer: str
    #: `system`, `user`, `assistant`, `tool` or None.
    role: "str | None"
    text: str

    def replace_by(self, text):
        """The edit that puts this text in its place."""
        return ("text", (self.pointer, text))


class Body:
    """A body under inspection. Reading is lazy: a plugin pays for what it looks at."""

    def __init__(self, view):
        self._view = view

    def raw(self):
        """The whole body as text."""
        return self._view.raw()

    def json(self):
        """The whole body as Python values."""
        return _json.loads(self._view.raw())

    def field(self, pointer):
        """The value at a JSON pointer, None when there is none."""
        found = self._view.field(pointer)
        return None if found is None else _json.loads(found)

    def texts(self):
        """Every text, in body order."""
        return [Text(text.pointer, text.role, text.text) for text in self._view.texts()]

    @property
    def size(self):
        """Length in bytes."""
        return self._view.size()


@dataclass
class Edits:
    """Changes to make, and what was found: counts by kind, never the found text."""

    edits: list
    findings: dict = field(default_factory=dict)


@dataclass
class Block:
    """A refusal, shown to the client."""

    message: str
    status: int = 400
    detail: "dict | None" = None
    findings: dict = field(default_factory=dict)


@dataclass
class CouldNotJudge:
    """Leaves the decision to the operator's `fail: open | closed`."""

    reason: str


def allow():
    """Nothing to object to. The same as returning None."""
    return None


def edit(edits, findings=None):
    """Changes the body: a list of `text.replace_by(…)`, `set_value(…)`, `remove(…)`."""
    return Edits(list(edits), findings or {})


def set_value(pointer, value):
    """The edit that sets, or adds, the value at a JSON pointer."""
    return ("value", (pointer, _json.dumps(value, ensure_ascii=False)))


def remove(pointer):
    """The edit that removes the member at a JSON pointer."""
    return ("remove", pointer)


def block(message, status=400, detail=None, findings=None):
    """Refuses, with a message for the client that has none of the offending text."""
    return Block(message, status, detail, findings or {})


def could_not_judge(reason):
    """Leaves the decision to the operator's fail policy."""
    return CouldNotJudge(reason)


class StreamGuard:
    """One streamed answer under inspection. Each choice's content and each tool call is a channel of its own."""

    def push(self, channel, text):
        """More text. Return what may go to the client now (`""` holds everything) or `block(…)`."""
        raise NotImplementedError

    def finish(self, channel):
        """The channel is complete: return what was held, or `block(…)`."""
        raise NotImplementedError

    def findings(self):
        """What was found so far: counts by kind."""
        return {}


class Guardrail:
    """Subclass it and write `check`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def check(self, call, body):
        """Judges: return None (allow), `edit(…)`, `block(…)` or `could_not_judge(…)`."""
        raise NotImplementedError

    def open_stream(self, call):
        """A `StreamGuard` for piecewise inspection; None makes the host hold the stream and call `check`."""
        return None
