"""Models, called through the gateway: routed, retried, metered and recorded with this plugin as the caller. The manifest asks
for them (`llm = ["{model}"]`), the operator grants them.

    answer = llm.chat("judge", [{"role": "user", "content": text}], temperature=0)
    if answer.text == "yes": ...
"""

import json as _json

from componentize_py_types import Err

from . import _host
from .errors import DeniedByHost, Failed, Unavailable

_llm = _host.interface("llm")


class CallFailed(Failed):
    """The call was made and failed; `status` is the HTTP status a client would have got, `kind` LiteLLM's `type`."""

    def __init__(self, status, kind, message):
        super().__init__(f"status {status}: {message}")
        self.status = status
        self.kind = kind


class Answer:
    """A complete answer."""

    def __init__(self, body, cost_usd, call_id):
        #: OpenAI's chat completion, as a dict.
        self.body = body
        #: US dollars as text; None when the price is not known.
        self.cost_usd = cost_usd
        #: Id under which the call is logged.
        self.call_id = call_id

    @property
    def text(self):
        """The text of the first choice; None when it has none (a tool call)."""
        choices = self.body.get("choices") or [{}]
        return (choices[0].get("message") or {}).get("content")


def chat(model, messages, *, timeout_ms=None, **params):
    """Calls a model of the configuration and waits for the whole answer.

    `messages` and `params` (`temperature`, `max_tokens`, …) are OpenAI's. A refusal by the host raises `DeniedByHost`, no
    answer `Unavailable`, a call that failed `CallFailed`.
    """
    request = {"model": model, "messages": messages, **params}
    try:
        answer = _llm.chat(_json.dumps(request, ensure_ascii=False), timeout_ms)
    except Err as error:
        raise _exception(error.value) from None
    return Answer(_json.loads(answer.body), answer.cost_usd, answer.call_id)


def stream(model, messages, *, timeout_ms=None, **params):
    """The same, chunk by chunk: an iterator over OpenAI's chunks, as dicts. It ends with the call in which it was opened.

        for chunk in llm.stream("judge", messages):
            text += llm.text_of(chunk)
    """
    request = {"model": model, "messages": messages, **params}
    try:
        opened = _llm.stream(_json.dumps(request, ensure_ascii=False), timeout_ms)
    except Err as error:
        raise _exception(error.value) from None
    return _chunks(opened)


def _chunks(opened):
    with opened:
        while True:
            try:
                chunk = opened.next()
            except Err as error:
                raise _exception(error.value) from None
            if chunk is None:
                return
            yield _json.loads(chunk)


def text_of(chunk):
    """The text that a chunk adds to the first choice."""
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def _exception(error):
    if isinstance(error, _llm.LlmError_Denied):
        return DeniedByHost(error.value)
    if isinstance(error, _llm.LlmError_Timeout):
        return Unavailable("the model gave no answer in time")
    if isinstance(error, _llm.LlmError_Unavailable):
        return Unavailable(error.value)
    if isinstance(error, _llm.LlmError_Failed):
        failure = error.value
        return CallFailed(failure.status, failure.kind, failure.message)
    return Failed(error.value)
