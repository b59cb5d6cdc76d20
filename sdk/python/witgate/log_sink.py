"""Log sinks: where the record of each finished request goes. The host queues, batches, retries and redacts."""

import json as _json
from functools import cached_property


class Event:
    """One finished request."""

    def __init__(self, id, kind, payload, context):
        #: Unique per call; deliveries of the same event repeat it.
        self.id = id
        #: `success` or `failure`
        self.kind = kind
        self.payload_text = payload
        self.context_text = context

    @cached_property
    def payload(self):
        """LiteLLM's standard logging payload."""
        return _json.loads(self.payload_text)

    @cached_property
    def context(self):
        """What stands beside the payload: `request`, `timing`, `trace`, `exception`, `dynamic`."""
        return _json.loads(self.context_text)


def delivered():
    """Everything arrived. The same as returning None."""
    return None


def retry(reason, after_ms=None):
    """Try the whole batch again."""
    return ("retry", reason, after_ms)


def rejected(reason):
    """The whole batch was refused for good."""
    return ("rejected", reason)


def partial(retry=(), rejected=None, after_ms=None):
    """Some events need another try (positions) or were refused (a dict of position and reason)."""
    return ("partial", list(retry), dict(rejected or {}), after_ms)


def from_response(response):
    """The usual reading: 2xx is delivered, 408, 429 and 5xx are tried again, anything else is refused."""
    if response.ok:
        return None
    if response.is_worth_a_retry:
        return retry(response.summary(), response.retry_after_ms)
    return rejected(response.summary())


class LogSink:
    """Subclass it and write `deliver`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def deliver(self, batch):
        """Delivers a list of `Event`s: return None (delivered), `retry(…)`, `rejected(…)`, `partial(…)` or
        the `http.Response` of the one request that was made."""
        raise NotImplementedError

    def health_check(self):
        """Raises when the other side cannot be reached with these settings."""
