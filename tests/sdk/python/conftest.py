"""The client as a user makes it: no arguments, everything from OPENAI_* variables."""

import openai
import pytest


@pytest.fixture
def client():
    with openai.OpenAI(max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def async_client():
    """A factory: an async client belongs to the event loop that it is used in."""
    return lambda: openai.AsyncOpenAI(max_retries=0, timeout=30)
