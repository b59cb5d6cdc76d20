"""Responses, read by attribute and by key."""

import enum
from typing import Any, Literal

from witgate_litellm.objects import Record


class ModelResponse(Record):
    """A chat completion."""


class ModelResponseStream(ModelResponse):
    """A piece of a chat completion."""


class TextCompletionResponse(ModelResponse):
    """A text completion."""


class EmbeddingResponse(Record):
    """Embeddings."""


class ImageResponse(Record):
    """Images."""


class Choices(Record):
    """One choice."""


class StreamingChoices(Record):
    """One choice of a piece."""


class Message(Record):
    """A message."""


class Delta(Record):
    """A piece of a message."""


class Usage(Record):
    """Counts of tokens."""


class StandardLoggingPayload(Record):
    """The record of a call."""


class StandardCallbackDynamicParams(dict):
    """Parameters of callbacks in the request. None are passed on."""


class StandardLoggingPayloadStatus(Record):
    """Only a name in signatures."""


class CallTypes(str, enum.Enum):
    """What is called."""

    completion = "completion"
    acompletion = "acompletion"
    text_completion = "text_completion"
    atext_completion = "atext_completion"
    embedding = "embedding"
    aembedding = "aembedding"


LLMResponseTypes = Any
CallTypesLiteral = Literal[
    "completion",
    "acompletion",
    "text_completion",
    "atext_completion",
    "embeddings",
    "embedding",
    "aembedding",
    "image_generation",
    "moderation",
    "audio_transcription",
    "pass_through_endpoint",
    "rerank",
    "mcp_call",
    "anthropic_messages",
]
GenericGuardrailAPIInputs = dict
