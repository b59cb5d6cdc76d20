"""`CustomLogger`: an instance whose log hooks get each finished call."""

from datetime import datetime, timezone

from litellm.types.utils import EmbeddingResponse, ModelResponse, TextCompletionResponse
from witgate import LogSink, Unavailable, log, partial

from .client import Trouble
from .loop import run
from .objects import Record

_RESPONSES = {
    "acompletion": ModelResponse,
    "completion": ModelResponse,
    "atext_completion": TextCompletionResponse,
    "aembedding": EmbeddingResponse,
}


class Adapter(LogSink):
    """The instance as a log sink."""

    def __init__(self, instance, given):
        super().__init__(given)
        self._instance = instance

    def deliver(self, batch):
        rejected, again = {}, []
        for index, event in enumerate(batch):
            try:
                self._one(event)
            except Exception as error:
                if is_trouble(error):
                    again.append(index)
                    log.warn(f"the logger could not reach the other side: {error}")
                else:
                    rejected[index] = f"{type(error).__name__}: {error}"
        return partial(retry=again, rejected=rejected) if rejected or again else None

    def _one(self, event):
        payload, context = event.payload, event.context
        kwargs = call_details(payload, context)
        response = response_of(payload)
        start, end = moment(payload.get("startTime")), moment(payload.get("endTime"))
        hook = self._hook("success" if event.kind == "success" else "failure")
        if hook is not None:
            run(hook(kwargs, response, start, end))

    def _hook(self, outcome):
        """The asynchronous hook, which is the one LiteLLM's proxy calls; the other one when only it was written."""
        for name in (f"async_log_{outcome}_event", f"log_{outcome}_event"):
            if is_own(self._instance, name):
                return getattr(self._instance, name)
        return None


def call_details(payload, context):
    """LiteLLM's `kwargs`: what is known of the call, under its names."""
    request = context.get("request") or {}
    metadata = dict(payload.get("metadata") or {})
    for name, value in (request.get("metadata") or {}).items():
        metadata.setdefault(name, value)
    failure = context.get("exception") or {}
    error = None
    if payload.get("status") == "failure":
        error = Exception(payload.get("error_str") or failure.get("message") or "the call failed")
    return Record.of(
        {
            "model": payload.get("model"),
            "messages": payload.get("messages"),
            "input": payload.get("messages"),
            "call_type": payload.get("call_type"),
            "litellm_call_id": payload.get("litellm_call_id") or payload.get("id"),
            "custom_llm_provider": payload.get("custom_llm_provider"),
            "stream": payload.get("stream") or False,
            "cache_hit": payload.get("cache_hit"),
            "response_cost": payload.get("response_cost"),
            "user": payload.get("end_user") or None,
            "optional_params": payload.get("model_parameters") or {},
            "standard_logging_object": payload,
            "litellm_params": {
                "api_base": payload.get("api_base"),
                "metadata": metadata,
                "model_info": {"id": payload.get("model_id")},
                "proxy_server_request": {"headers": request.get("headers") or {}},
            },
            "exception": error,
            "traceback_exception": failure.get("traceback"),
            "start_time": moment(payload.get("startTime")),
            "end_time": moment(payload.get("endTime")),
            "completion_start_time": moment(payload.get("completionStartTime")),
            "complete_streaming_response": response_of(payload) if payload.get("stream") else None,
            "async_complete_streaming_response": response_of(payload) if payload.get("stream") else None,
        }
    )


def response_of(payload):
    """The response as LiteLLM's object, None when there is none."""
    response = payload.get("response")
    if not isinstance(response, dict):
        return response
    kind = _RESPONSES.get(payload.get("call_type"), ModelResponse)
    made = kind.of(response)
    made.setdefault("model", payload.get("model"))
    usage = {name: payload.get(name) or 0 for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    made.setdefault("usage", Record.of(usage))
    hidden = dict(payload.get("hidden_params") or {})
    hidden.setdefault("response_cost", payload.get("response_cost"))
    object.__setattr__(made, "_hidden_params", hidden)
    return made


def moment(seconds):
    """A time as LiteLLM's hooks get it: local, without a zone."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


def is_trouble(error):
    """Whether a later try may work."""
    while error is not None:
        if isinstance(error, (Unavailable, TimeoutError)):
            return True
        if isinstance(error, Trouble):
            return error.kind in ("timeout", "connect")
        if type(error).__module__.split(".")[0] in ("httpx", "requests", "aiohttp"):
            response = getattr(error, "response", None)
            status = getattr(response, "status_code", None) or getattr(error, "status", None)
            return status is None or status in (408, 429) or status >= 500
        error = error.__cause__
    return False


def is_own(instance, name):
    """Whether the class of the author has the hook, and not only LiteLLM's base."""
    found = getattr(type(instance), name, None)
    return found is not None and not getattr(found, "__module__", "").startswith("litellm")
