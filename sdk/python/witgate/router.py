"""Routers: a routing strategy of one's own. They pick the deployment that gets a call."""

from dataclasses import dataclass


@dataclass
class RouteRequest:
    """A call that needs a deployment."""

    id: str
    #: LiteLLM's `call_type`: `acompletion`, …
    call_type: str
    #: The model group that is tried.
    model: str
    #: The client wants a stream.
    streaming: bool
    #: Of the request and of its key.
    tags: list
    #: Tokens of the prompt; None when they cannot be counted.
    prompt_tokens: int | None
    #: Tries of this call that have failed so far.
    failed_tries: int
    #: Who asks: `key_hash`, `user_id`, `team_id`, `end_user_id`, …
    principal: object
    #: The request's `metadata`, a dict.
    metadata: dict


class Router:
    """Subclass it and write `pick`. `__init__` runs once per instance.

    A candidate has `id`, `model`, `tags`, `weight`, `order`, `region`, `in_flight`, `in_flight_max`, `requests`, `requests_max`,
    `tokens`, `tokens_max`, `prompt_tokens_max`, `latency`, `first_token` and `cost`; what is not known is None.
    """

    def __init__(self, settings):
        self.settings = settings

    def pick(self, candidates, request):
        """Returns one of the candidates, or its id. None leaves this choice to `simple-shuffle`, and so does an exception."""
        raise NotImplementedError
