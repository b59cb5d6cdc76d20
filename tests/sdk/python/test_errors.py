"""Each failure is the exception class that the SDK's users catch."""

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Hello!"}]

CLASSES = [
    ("bad-request", openai.BadRequestError, 400, "temperature is out of range"),
    ("bad-key", openai.AuthenticationError, 401, "Incorrect API key provided"),
    ("forbidden", openai.PermissionDeniedError, 403, "not for you"),
    ("not-found", openai.NotFoundError, 404, "does not exist"),
    ("rate-limited", openai.RateLimitError, 429, "Rate limit reached"),
    ("broken", openai.InternalServerError, 500, "The server had an error"),
]


@pytest.mark.parametrize("model, kind, status, text", CLASSES, ids=[row[0] for row in CLASSES])
def test_the_class_of_an_upstream_error(client, model, kind, status, text):
    with pytest.raises(kind) as raised:
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert raised.value.status_code == status
    assert text in raised.value.message
    assert raised.value.body["message"]
    assert raised.value.body["code"]


def test_a_wrong_key(client):
    with pytest.raises(openai.AuthenticationError) as raised:
        client.with_options(api_key="sk-wrong").chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert "Authentication Error" in raised.value.message


def test_a_missing_field(client):
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.post("/chat/completions", body={"model": "gpt-4o"}, cast_to=object)


def test_retry_after_is_told(client):
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="rate-limited", messages=MESSAGES)
    assert raised.value.response.headers["retry-after"] == "7"


def test_the_clients_timeout_is_the_clients(client):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model="slow", messages=MESSAGES)
    assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).id


def test_the_gateways_timeout_is_an_error_of_its_own(client):
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(
            model="slow", messages=MESSAGES, extra_headers={"x-litellm-timeout": "0.5"}
        )
    assert raised.value.status_code == 408
