"""Raw access: headers of the gateway, of the upstream, and of the caller's choice."""

MESSAGES = [{"role": "user", "content": "Hello!"}]


def test_headers_of_an_answer(client):
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=MESSAGES, extra_headers={"x-litellm-call-id": "my-own-id"}
    )
    assert raw.headers["x-litellm-call-id"] == "my-own-id"
    assert float(raw.headers["x-litellm-response-cost"]) > 0
    assert raw.headers["x-litellm-model-group"] == "gpt-4o"
    assert raw.headers["llm_provider-x-request-id"] == "req_fake"
    assert raw.parse().choices[0].message.content == "The answer is 42."


def test_headers_of_a_stream_come_with_the_first_frame(client):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    ) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["x-litellm-call-id"]
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_request_ids(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.id
