"""Chat completions, sync and async, with tools and structured fields."""

import asyncio
import json

MESSAGES = [{"role": "user", "content": "Hello!"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_chat(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.object == "chat.completion"
    assert answer.model == "gpt-4o"
    assert answer.choices[0].message.content == "The answer is 42."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens == 18


def test_chat_async(async_client):
    async def many():
        async with async_client() as client:
            calls = [
                client.chat.completions.create(model="echo", messages=[{"role": "user", "content": f"call {n}"}])
                for n in range(20)
            ]
            return await asyncio.gather(*calls)

    answers = asyncio.run(many())
    assert [answer.choices[0].message.content for answer in answers] == [f"call {n}" for n in range(20)]


def test_parts_of_a_message(client):
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "one two"


def test_unicode_both_ways(client):
    text = 'Grüße 😀   "quoted" \\ \n\t\x7f'
    answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": text}])
    assert answer.choices[0].message.content == text


def test_every_parameter_is_taken(client):
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=MESSAGES,
        temperature=0.2,
        top_p=0.9,
        n=1,
        seed=2**53 + 1,
        stop=["END"],
        max_tokens=100,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        logit_bias={"50256": -100},
        user="user-1",
        response_format={"type": "json_object"},
        extra_body={"vendor_extra": {"a": [1, 2]}},
        extra_headers={"x-extra": "1"},
    )
    assert answer.choices[0].message.content


def test_a_tool_round_trip(client):
    asked = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=[WEATHER], tool_choice="auto")
    assert asked.choices[0].finish_reason == "tool_calls"
    call = asked.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}

    history = MESSAGES + [
        asked.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    told = client.chat.completions.create(model="gpt-4o", messages=history, tools=[WEATHER])
    assert told.choices[0].message.content == "The answer is 42."
