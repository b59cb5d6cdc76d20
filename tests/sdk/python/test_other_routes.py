"""Embeddings, text completions, the list of models, and the Azure client's paths."""

import asyncio
import os

import openai
import pytest


def test_embeddings(client):
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding == [0.25, -0.5, 1.0]
    assert answer.usage.prompt_tokens == 11


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_in_both_forms(client, form):
    answer = client.embeddings.create(model="text-embedding-3-small", input="one", encoding_format=form)
    assert len(answer.data) == 1 and answer.data[0].embedding


def test_embeddings_of_tokens(client):
    assert len(client.embeddings.create(model="text-embedding-3-small", input=[1, 2, 3]).data) == 1


def test_embeddings_async(async_client):
    async def one():
        async with async_client() as client:
            return await client.embeddings.create(model="text-embedding-3-small", input="one")

    assert asyncio.run(one()).data[0].embedding == [0.25, -0.5, 1.0]


def test_text_completions(client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="x", max_tokens=5)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == "The answer is 42."


def test_models(client):
    models = {model.id: model for model in client.models.list()}
    assert "gpt-4o" in models
    assert models["gpt-4o"].object == "model"
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_the_azure_client():
    azure = openai.AzureOpenAI(
        azure_endpoint=os.environ["GATEWAY_URL"],
        base_url=None,
        api_key=os.environ["OPENAI_API_KEY"],
        api_version="2024-06-01",
        max_retries=0,
    )
    answer = azure.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == "The answer is 42."
