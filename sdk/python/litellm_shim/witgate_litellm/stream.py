"""LiteLLM's streaming hooks, which pull pieces, over the host's stream guards, which push them."""

import asyncio
import json

from litellm.types.utils import ModelResponseStream
from witgate import StreamGuard, block

from .loop import loop, run

_END = object()


class ByIterator(StreamGuard):
    """`async_post_call_streaming_iterator_hook`: one run of the generator for each channel."""

    def __init__(self, start, refusal):
        self._start = start
        self._refusal = refusal
        self._channels = {}

    def push(self, channel, text):
        if channel not in self._channels:
            self._channels[channel] = _Channel(self._start)
        return self._answer(self._channels[channel], _piece(text))

    def finish(self, channel):
        own = self._channels.pop(channel, None)
        return "" if own is None else self._answer(own, _END)

    def __del__(self):
        # The stream ended before its channels did.
        for channel in self._channels.values():
            channel.task.cancel()

    def _answer(self, channel, piece):
        channel.pieces.put_nowait(piece)
        if piece is _END:
            loop().run_until_complete(asyncio.wait([channel.task]))
        else:
            loop().run_until_idle()
        if channel.task.done() and channel.task.exception() is not None:
            return self._refusal(channel.task.exception())
        return channel.take()


class _Channel:
    """A generator at work, what goes into it and what came out."""

    def __init__(self, start):
        loop()
        self.pieces = asyncio.Queue()
        self.out = []
        self.task = loop().create_task(self._run(start))

    async def _source(self):
        while (piece := await self.pieces.get()) is not _END:
            yield piece

    async def _run(self, start):
        async for piece in start(self._source()):
            self.out.append(_text(piece))

    def take(self):
        text = "".join(self.out)
        self.out.clear()
        return text


class ByPiece(StreamGuard):
    """`async_post_call_streaming_hook`: each piece by itself."""

    def __init__(self, hook, refusal):
        self._hook = hook
        self._refusal = refusal

    def push(self, channel, text):
        try:
            result = run(self._hook(text))
        except Exception as error:
            return self._refusal(error)
        if result is None:
            return text
        if isinstance(result, str) and result.startswith("data: "):
            return block(_message(result))
        return _text(result)

    def finish(self, channel):
        return ""


def _piece(text):
    return ModelResponseStream.of(
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )


def _text(piece):
    if isinstance(piece, str):
        return piece
    choices = piece.get("choices") or []
    return "".join((choice.get("delta") or {}).get("content") or "" for choice in choices)


def _message(frame):
    """The message of an error frame."""
    try:
        error = json.loads(frame.removeprefix("data: ")).get("error")
    except (ValueError, AttributeError):
        return frame.removeprefix("data: ").strip()
    return str(error.get("message") if isinstance(error, dict) else error)
