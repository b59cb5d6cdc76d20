"""A model behind a provider plugin: the SDK cannot tell it from one of OpenAI's."""

import json

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Hello!"}]
TEXT = "Hello from Claude."
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def test_a_chat(client):
    answer = client.chat.completions.create(model="claude", messages=MESSAGES, max_tokens=20)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 60
    assert answer.usage.prompt_tokens_details.cached_tokens == 30


def test_a_stream_with_usage(client):
    stream = client.chat.completions.create(
        model="claude", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.total_tokens == 75


def test_a_tool_and_its_result(client):
    answer = client.chat.completions.create(
        model="claude", messages=MESSAGES, tools=[WEATHER], tool_choice="required"
    )
    message = answer.choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] == "Oslo"
    messages = [*MESSAGES, message, {"role": "tool", "tool_call_id": call.id, "content": "Rain"}]
    answer = client.chat.completions.create(model="claude", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == TEXT


def test_streamed_tool_calls(client):
    with client.chat.completions.stream(model="claude", messages=MESSAGES, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Oslo", "days": [1, 2]}


def test_an_answer_in_json(client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    answer = client.chat.completions.create(
        model="claude",
        messages=MESSAGES,
        response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content)["city"] == "Oslo"


def test_a_parameter_it_lacks(client):
    with pytest.raises(openai.BadRequestError, match="does not support parameters: .'seed'"):
        client.chat.completions.create(model="claude", messages=MESSAGES, seed=1)
