"""Request hooks: edit requests, answers, chunks of streams and lists of deployments.

Write the hooks that `plugin.toml` names under `hooks`; the host calls no other. Edits are made by `text.replace_by(…)`,
`set_value(pointer, value)` and `remove(pointer)`, as a guardrail makes them.
"""

import json as _json
from dataclasses import dataclass, field


@dataclass
class HookCall:
    """What is known of the call."""

    id: str
    call_type: str
    #: The model group that is asked for.
    model: str
    #: Whether the client wants a stream.
    streaming: bool
    #: Who calls: `key_hash`, `key_alias`, `user_id`, `team_id`, `org_id`, `end_user_id`, `role`.
    principal: object


@dataclass
class Deployment:
    """An entry of `model_list`, without secrets."""

    id: str
    model_name: str
    params: dict
    info: dict


@dataclass
class CallFailure:
    """How a call failed."""

    #: LiteLLM's class, such as `RateLimitError`.
    kind: str
    #: The status that the client would get.
    status: int
    message: str


@dataclass
class Reply:
    """A reply that is about to be sent."""

    status: int
    #: Who answered, or was tried last.
    deployment: "Deployment | None"


@dataclass
class Refusal:
    """An error in the client's words."""

    message: str
    status: int = 400
    kind: "str | None" = None
    param: "str | None" = None
    detail: "dict | None" = None


@dataclass
class Answer:
    """The text that is answered in place of a call."""

    text: str


@dataclass
class End:
    """Chunks, and then the end of the stream."""

    chunks: list = field(default_factory=list)


def respond(text):
    """From `pre_call`: answers with this text; no model is called."""
    return Answer(text)


def refuse(message, status=400, kind=None, param=None, detail=None):
    """Ends the call with an error."""
    return Refusal(message, status, kind, param, detail)


def replace_body(value):
    """The edit that puts a value in the place of the whole body."""
    return ("value", ("", _json.dumps(value, ensure_ascii=False)))


def end(chunks=()):
    """From a stream hook: these chunks, then the stream ends."""
    return End(list(chunks))


class StreamHook:
    """The work on one streamed answer."""

    def push(self, chunk):
        """A chunk, as a dict. Return None to keep it, a list of chunks to send in its place (an empty one drops it),
        `end(…)` or `refuse(…)`."""
        return None

    def finish(self):
        """The upstream has said all: return None, or more chunks."""
        return None


class RequestHook:
    """Subclass it and write hooks. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def pre_call(self, call, request):
        """The request, before guardrails and any upstream see it: return None, a list of edits, `respond(…)` or `refuse(…)`."""

    def pre_routing(self, call, request):
        """May lead the call to another model: return None, a list of edits, or `refuse(…)`. The first hook with edits decides."""

    def filter_deployments(self, call, request, deployments):
        """Which deployments may serve: return them or their ids, None for all, or `refuse(…)`."""

    def pre_call_deployment(self, call, request, deployment):
        """The request of one try: return None, a list of edits, or `refuse(…)`."""

    def post_call_success(self, call, request, response):
        """A complete answer: return None, a list of edits, or `refuse(…)`."""

    def open_stream(self, call, request):
        """Starts on a streamed answer: return a `StreamHook`, or None to leave it alone."""

    def post_call_failure(self, call, request, failure):
        """A call failed: return None, or `refuse(…)` to put another error in its place."""

    def response_headers(self, call, request, reply, response):
        """Headers to add to the reply, as a dict. `response` is the answer, None when there is none or it is a stream."""
