"""The part of LiteLLM that extension files import. What would call a model or a database is refused by name."""

from . import _logging, exceptions
from .exceptions import *
from .types.utils import EmbeddingResponse, ModelResponse, TextCompletionResponse

callbacks = []
success_callback = []
failure_callback = []
input_callback = []
set_verbose = False
drop_params = False
verbose_logger = _logging.verbose_logger

_NOT_HERE = (
    "embedding aembedding text_completion atext_completion moderation amoderation "
    "image_generation aimage_generation transcription atranscription speech aspeech responses aresponses Router"
).split()


def completion(model, messages, timeout=None, **params):
    """Calls a model of the gateway's configuration, which the operator must grant (`grants.llm`)."""
    from witgate_litellm.models import chat

    return chat(model, messages, timeout, params)


async def acompletion(model, messages, timeout=None, **params):
    """The same; nothing else runs meanwhile."""
    return completion(model, messages, timeout, **params)


def completion_cost(completion_response=None, **_):
    """The cost that the gateway worked out."""
    hidden = getattr(completion_response, "_hidden_params", None) or {}
    cost = hidden.get("response_cost")
    if cost is None:
        raise ValueError("the cost of this response is not known; use kwargs['response_cost']")
    return cost


def token_counter(model="", text=None, messages=None, **_):
    """A rough count, four letters a token: the tokenizers are not part of a plugin."""
    if text is None:
        text = " ".join(str(message.get("content") or "") for message in messages or [])
    return max(1, len(text) // 4) if text else 0


def __getattr__(name):
    if name in _NOT_HERE:
        raise AttributeError(f"litellm.{name} is not available in a plugin: it has completion and acompletion")
    raise AttributeError(f"module 'litellm' has no attribute {name!r} in a Witgate plugin")
