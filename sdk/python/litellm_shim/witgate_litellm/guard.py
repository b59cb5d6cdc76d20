"""`CustomGuardrail`: a class whose hooks judge, and edit, requests and answers."""

import copy
import json

from fastapi import HTTPException
from litellm.caching.caching import DualCache
from litellm.exceptions import GuardrailRaisedException
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
from litellm.types.utils import ModelResponse
from witgate import Guardrail, block, could_not_judge, edit, remove, set_value

from .logger import is_own, is_trouble
from .loop import run
from .objects import changes, plain
from .stream import ByIterator, ByPiece

#: Settings that the gateway acts on itself.
_GATEWAYS = ("guardrail", "mode", "default_on", "guardrail_name", "fail", "guardrail_info")


class Adapter(Guardrail):
    """An instance of the class as a guardrail."""

    def __init__(self, kind, given):
        super().__init__(given)
        if isinstance(kind, type):
            own = {name: value for name, value in given.items() if name not in _GATEWAYS}
            name = given.get("guardrail_name") or kind.__name__
            self._guard = kind(
                guardrail_name=name,
                event_hook=given.get("mode"),
                default_on=bool(given.get("default_on", True)),
                **own,
            )
        else:
            self._guard = kind
        self._cache = DualCache()

    def check(self, call, body):
        hook = {
            "pre_call": self._pre_call,
            "during_call": self._during_call,
            "post_call": self._post_call,
            "logging_only": self._pre_call,
        }[call.phase]
        original = body.json()
        try:
            changed = hook(call, body, original)
        except Exception as error:
            if is_trouble(error):
                return could_not_judge(f"{type(error).__name__}: {error}")
            return refusal(error)
        if isinstance(changed, Refusal):
            return block(changed.message, status=400)
        if changed is None:
            return None
        sets, removes = changes(original, plain(changed))
        edits = [set_value(pointer, value) for pointer, value in sets] + [remove(pointer) for pointer in removes]
        return edit(edits) if edits else None

    def open_stream(self, call):
        guard, key = self._guard, key_of(call)
        if is_own(guard, "async_post_call_streaming_iterator_hook"):
            data = {"model": call.model, "metadata": {}, "litellm_call_id": call.id}
            return ByIterator(
                lambda source: guard.async_post_call_streaming_iterator_hook(
                    user_api_key_dict=key, response=source, request_data=data
                ),
                refusal,
            )
        if is_own(guard, "async_post_call_streaming_hook"):
            return ByPiece(
                lambda text: guard.async_post_call_streaming_hook(user_api_key_dict=key, response=text), refusal
            )
        return None

    def _pre_call(self, call, body, original):
        data = request_data(original, call)
        added = set(data) - set(original)
        if is_own(self._guard, "async_pre_call_hook"):
            result = run(
                self._guard.async_pre_call_hook(
                    user_api_key_dict=key_of(call), cache=self._cache, data=data, call_type=_short(call.call_type)
                )
            )
            if isinstance(result, str):
                return Refusal(result)
            if isinstance(result, Exception):
                raise result
            # LiteLLM's hooks edit in place and often return nothing.
            data = data if result is None else result
        elif is_own(self._guard, "apply_guardrail"):
            return self._apply(body, data, original, "request")
        return {name: value for name, value in plain(data).items() if name not in added}

    def _during_call(self, call, body, original):
        data = request_data(original, call)
        if is_own(self._guard, "async_moderation_hook"):
            run(
                self._guard.async_moderation_hook(
                    data=data, user_api_key_dict=key_of(call), call_type=_short(call.call_type)
                )
            )
        elif is_own(self._guard, "apply_guardrail"):
            self._apply(body, data, original, "request")
        return None

    def _post_call(self, call, body, original):
        data = {"model": call.model, "metadata": {}, "litellm_call_id": call.id}
        if is_own(self._guard, "async_post_call_success_hook"):
            response = ModelResponse.of(copy.deepcopy(original))
            result = run(
                self._guard.async_post_call_success_hook(
                    data=data, user_api_key_dict=key_of(call), response=response
                )
            )
            return response if result is None else result
        if is_own(self._guard, "apply_guardrail"):
            return self._apply(body, data, original, "response")
        return None

    def _apply(self, body, data, original, side):
        """The unified style: texts go in and come back in the same order."""
        texts = body.texts()
        inputs = {"texts": [text.text for text in texts], "model": original.get("model")}
        try:
            result = run(self._guard.apply_guardrail(inputs=inputs, request_data=data, input_type=side))
        except TypeError as error:
            if "unexpected keyword argument 'inputs'" not in str(error):
                raise
            # The older form judges one text at a time.
            result = {"texts": [run(self._guard.apply_guardrail(text=one.text)) for one in texts]}
        changed = copy.deepcopy(original)
        for text, new in zip(texts, (result or inputs).get("texts") or []):
            if new != text.text:
                _put(changed, text.pointer, new)
        return changed


class Refusal:
    """A pre-call hook returned a text: it refuses the call with it."""

    def __init__(self, message):
        self.message = message


def refusal(error):
    """What a hook raised, as a refusal."""
    if isinstance(error, HTTPException):
        detail = error.detail if isinstance(error.detail, dict) else None
        return block(_message(error.detail), status=error.status_code, detail=detail)
    if isinstance(error, ProxyException):
        return block(error.message, status=int(error.code or 400))
    default = 400 if isinstance(error, GuardrailRaisedException) else 500
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else default
    return block(str(error) or type(error).__name__, status=status)


def request_data(original, call):
    """The request as LiteLLM's hooks get it: the body and what the proxy adds."""
    data = copy.deepcopy(original)
    data.setdefault("metadata", {})
    data.setdefault("litellm_call_id", call.id)
    data.setdefault("guardrail_config", call.params)
    return data


def key_of(call):
    """Who calls."""
    who = call.principal
    return UserAPIKeyAuth(
        api_key=who.key_hash,
        token=who.key_hash,
        key_alias=who.key_alias,
        user_id=who.user_id,
        team_id=who.team_id,
        org_id=who.org_id,
        end_user_id=who.end_user_id,
        user_role=who.role,
    )


def _short(call_type):
    """`acompletion` → `completion`: the names that the hooks are documented with."""
    return {"acompletion": "completion", "atext_completion": "text_completion", "aembedding": "embeddings"}.get(
        call_type, call_type
    )


def _message(detail):
    if isinstance(detail, dict):
        error = detail.get("error")
        if isinstance(error, dict):
            error = error.get("message")
        return str(error or detail.get("message") or json.dumps(detail))
    return str(detail)


def _put(value, pointer, new):
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for step in steps[:-1]:
        value = value[int(step)] if isinstance(value, list) else value[step]
    last = steps[-1]
    value[int(last) if isinstance(value, list) else last] = new
