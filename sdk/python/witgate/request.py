"""The client's request behind the call under way, for guardrails and request hooks."""

import json as _json

from ._host import interface as _interface

_wit = _interface("request")


def headers():
    """The client's headers as (name, value) pairs, names in lower case, without those that carry credentials."""
    return [tuple(header) for header in _wit.headers()]


def caller():
    """What is known of the caller by LiteLLM's names: `user_api_key_hash`, `user_api_key_user_email`, …"""
    return _json.loads(_wit.caller())
