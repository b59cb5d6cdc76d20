"""Streams, sync and async: text, tools, usage, leaving early, errors on the way."""

import asyncio
import json

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Hello!"}]
TEXT = "The answer is 42."
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_stream(client):
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert text_of(chunks) == TEXT
    assert all(chunk.object == "chat.completion.chunk" and chunk.model == "gpt-4o" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert text_of(chunks) == TEXT
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 18


def test_streams_async(async_client):
    async def one(client, n):
        stream = await client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": f"stream number {n}"}], stream=True
        )
        return text_of([chunk async for chunk in stream])

    async def many():
        async with async_client() as client:
            return await asyncio.gather(*(one(client, n) for n in range(10)))

    assert asyncio.run(many()) == [f"stream number {n}" for n in range(10)]


def test_streamed_tool_calls(client):
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=[WEATHER], stream=True)
    name, arguments, finish = "", "", None
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (name, json.loads(arguments), finish) == ("get_weather", {"city": "Paris"}, "tool_calls")


def test_the_sdks_own_accumulator(client):
    with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as stream:
        for _ in stream:
            pass
        whole = stream.get_final_completion()
    assert whole.choices[0].message.content == TEXT


def test_leaving_early_does_no_harm(client):
    for _ in range(5):
        with client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True) as stream:
            next(iter(stream))
    assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.content == TEXT


def test_an_error_before_the_stream_has_its_class(client):
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="rate-limited", messages=MESSAGES, stream=True)


def test_an_error_in_the_stream_is_raised(client):
    stream = client.chat.completions.create(model="error-mid-stream", messages=MESSAGES, stream=True)
    seen = []
    with pytest.raises(openai.APIError, match="the model broke"):
        for chunk in stream:
            seen.append(chunk)
    assert text_of(seen) == "partial"


def test_streamed_text_completions(client):
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="x", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == TEXT
