"""`CustomLogger`: an instance whose call hooks edit requests, answers, streams and lists of deployments."""

import asyncio
import copy
import inspect

import litellm.exceptions
from fastapi import HTTPException
from litellm.caching.caching import DualCache
from litellm.proxy._types import ProxyException
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream, TextCompletionResponse
from witgate import RequestHook, StreamHook, Unavailable, end, log, refuse, remove, request, respond, set_value

from .guard import _message as detail_message
from .guard import _short, key_of
from .logger import is_own
from .loop import loop, run
from .objects import Record, changes, plain
from .stream import _message as frame_message

_RESPONSES = {"atext_completion": TextCompletionResponse, "aembedding": EmbeddingResponse}


class Adapter(RequestHook):
    """The instance as a request hook."""

    def __init__(self, instance, given):
        super().__init__(given)
        self._own = instance
        self._cache = DualCache()

    def pre_call(self, call, body):
        data = Data(body.json(), call)
        try:
            if self._has("async_pre_call_hook"):
                result = run(
                    self._own.async_pre_call_hook(
                        user_api_key_dict=key_of(call), cache=self._cache, data=data.now, call_type=_short(call.call_type)
                    )
                )
                if isinstance(result, str):
                    return respond(result)
                if isinstance(result, Exception):
                    raise result
                # LiteLLM's hooks edit in place and often return nothing.
                data.now = data.now if result is None else result
            if self._has("async_moderation_hook"):
                run(
                    self._own.async_moderation_hook(
                        data=copy.deepcopy(data.now), user_api_key_dict=key_of(call), call_type=_short(call.call_type)
                    )
                )
        except Exception as error:
            return refusal(error)
        return data.edits()

    def pre_routing(self, call, body):
        data = Data(body.json(), call)
        try:
            result = run(
                self._own.async_pre_routing_hook(
                    model=call.model,
                    request_kwargs=data.now,
                    messages=data.now.get("messages"),
                    input=data.now.get("input"),
                    specific_deployment=False,
                )
            )
        except Exception as error:
            return refusal(error)
        if result is None:
            return None
        found = result if isinstance(result, dict) else vars(result)
        for name in ("model", "messages"):
            if found.get(name) is not None:
                data.now[name] = found[name]
        return data.edits()

    def filter_deployments(self, call, body, deployments):
        data = Data(body.json(), call)
        try:
            kept = run(
                self._own.async_filter_deployments(
                    model=call.model,
                    healthy_deployments=[entry(one) for one in deployments],
                    messages=data.now.get("messages"),
                    request_kwargs=data.now,
                )
            )
        except Exception as error:
            return refusal(error)
        return None if kept is None else [one["model_info"]["id"] for one in kept]

    def pre_call_deployment(self, call, body, deployment):
        data = Data(body.json(), call)
        data.now["model"] = data.then["model"] = deployment.params.get("model")
        data.add("model_info", {**deployment.info, "id": deployment.id})
        data.add("api_base", deployment.params.get("api_base"))
        try:
            result = run(self._own.async_pre_call_deployment_hook(data.now, _short(call.call_type)))
        except Exception as error:
            return refusal(error)
        data.now = data.now if result is None else result
        edits = data.edits()
        before, after = data.then["model"] or "", data.now.get("model") or ""
        # The gateway has the upstream's name without its provider.
        provider = before.split("/", 1)[0] + "/" if "/" in before else ""
        edits = [one for one in edits if one[1][0] != "/model"]
        return edits + ([set_value("/model", after.removeprefix(provider))] if after != before else [])

    def post_call_success(self, call, body, answer):
        original = answer.json()
        response = _RESPONSES.get(call.call_type, ModelResponse).of(copy.deepcopy(original))
        try:
            result = run(
                self._own.async_post_call_success_hook(
                    data=Data(body.json(), call).now, user_api_key_dict=key_of(call), response=response
                )
            )
        except Exception as error:
            return refusal(error)
        return edits_of(original, plain(response if result is None else result))

    def open_stream(self, call, body):
        return Stream(self._own, call, body)

    def post_call_failure(self, call, body, failure):
        given = {
            "request_data": Data(body.json(), call).now,
            "original_exception": exception_of(failure),
            "user_api_key_dict": key_of(call),
            "traceback_str": None,
        }
        hook = self._own.async_post_call_failure_hook
        try:
            result = run(hook(**fitting(hook, given)))
        except (HTTPException, ProxyException) as error:
            return refusal(error)
        except Exception as error:
            log.warn(f"async_post_call_failure_hook: {type(error).__name__}: {error}")
            return None
        return refusal(result) if isinstance(result, (HTTPException, ProxyException)) else None

    def response_headers(self, call, body, reply, answer):
        chosen = reply.deployment
        given = {
            "data": Data(body.json(), call).now,
            "user_api_key_dict": key_of(call),
            "response": None if answer is None else _RESPONSES.get(call.call_type, ModelResponse).of(answer.json()),
            "request_headers": dict(request.headers()),
            "litellm_call_info": None
            if chosen is None
            else {
                "custom_llm_provider": (chosen.params.get("model") or "").split("/", 1)[0],
                "model_info": {**chosen.info, "id": chosen.id},
                "api_base": chosen.params.get("api_base"),
                "model_id": chosen.id,
            },
        }
        hook = self._own.async_post_call_response_headers_hook
        return run(hook(**fitting(hook, given))) or {}

    def _has(self, name):
        return is_own(self._own, name)


class Data:
    """The request as LiteLLM's hooks get it: the body and what the proxy adds, which does not go to the upstream."""

    def __init__(self, body, call):
        self._body = body
        #: As the hook got it, and as it is now.
        self.then = copy.deepcopy(body)
        self._added = []
        headers = dict(request.headers())
        self.add("litellm_call_id", call.id)
        self.add("proxy_server_request", {"url": None, "method": "POST", "headers": headers, "body": copy.deepcopy(body)})
        self._facts = {**request.caller(), "user_api_key": call.principal.key_hash, "headers": headers}
        own = self.then.get("metadata")
        if own is None or isinstance(own, dict):
            self.then["metadata"] = {**self._facts, **(own or {})}
        self.now = copy.deepcopy(self.then)

    def add(self, name, value):
        """A member that the body has not."""
        if name in self._body:
            return
        self._added.append(name)
        self.then[name] = value
        if hasattr(self, "now"):
            self.now[name] = copy.deepcopy(value)

    def edits(self):
        """What became different, as edits of the body."""
        new = plain(self.now)
        for name in self._added:
            if name in new and new[name] == self.then[name]:
                del new[name]
        metadata, own = new.get("metadata"), self._body.get("metadata")
        if isinstance(metadata, dict):
            facts = {name: value for name, value in self._facts.items() if name not in (own or {})}
            kept = {name: value for name, value in metadata.items() if name not in facts or facts[name] != value}
            if kept or "metadata" in self._body:
                new["metadata"] = own if own is None and not kept else kept
            else:
                del new["metadata"]
        return edits_of(self._body, new)


class Stream(StreamHook):
    """`async_post_call_streaming_iterator_hook`, then `async_post_call_streaming_hook` on each chunk."""

    def __init__(self, own, call, body):
        self._hook = own.async_post_call_streaming_hook if is_own(own, "async_post_call_streaming_hook") else None
        self._key = key_of(call)
        self._run = None
        if is_own(own, "async_post_call_streaming_iterator_hook"):
            data = Data(body.json(), call).now
            self._run = _Run(
                lambda source: own.async_post_call_streaming_iterator_hook(
                    user_api_key_dict=self._key, response=source, request_data=data
                )
            )

    def push(self, chunk):
        return self._answer(chunk)

    def finish(self):
        return self._answer(None)

    def __del__(self):
        # The stream ended before it was told so.
        if self._run is not None:
            self._run.cancel()

    def _answer(self, chunk):
        try:
            pieces, over = [chunk] if chunk is not None else [], False
            if self._run is not None:
                pieces, over = self._run.give(chunk)
            out = []
            for piece in pieces:
                piece = self._each(piece)
                if isinstance(piece, Ended):
                    return refuse(piece.message, status=500)
                out.append(piece)
        except Exception as error:
            return refusal(error)
        if over and chunk is not None:
            return end(out)
        return None if chunk is not None and out == [chunk] else out

    def _each(self, piece):
        if isinstance(piece, str):
            if not piece.startswith("data: "):
                raise TypeError("a stream hook yielded a text; yield chunks")
            return Ended(frame_message(piece))
        piece = plain(piece)
        if self._hook is None or not piece.get("choices"):
            return piece
        text = "".join(text_of(choice) for choice in piece["choices"])
        result = run(self._hook(user_api_key_dict=self._key, response=text))
        if result is None:
            return piece
        if isinstance(result, str):
            return Ended(frame_message(result)) if result.startswith("data: ") else with_text(piece, result)
        return plain(result)


class Ended:
    """A hook gave an error frame."""

    def __init__(self, message):
        self.message = message


class _Run:
    """A generator at work: what goes into it, and what came out."""

    def __init__(self, start):
        loop()
        self._pieces = asyncio.Queue()
        self._out = []
        self._task = loop().create_task(self._all(start))

    def cancel(self):
        self._task.cancel()

    def give(self, chunk):
        """Gives it a chunk, or None for the end; returns what came out, and whether it is through."""
        self._pieces.put_nowait(chunk if chunk is None else ModelResponseStream.of(copy.deepcopy(chunk)))
        if chunk is None:
            loop().run_until_complete(asyncio.wait([self._task]))
        else:
            loop().run_until_idle()
        if self._task.done() and not self._task.cancelled() and self._task.exception() is not None:
            raise self._task.exception()
        out, self._out[:] = list(self._out), []
        return [piece if isinstance(piece, str) else plain(piece) for piece in out], self._task.done()

    async def _source(self):
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _all(self, start):
        async for piece in start(self._source()):
            self._out.append(piece)


def text_of(choice):
    """What a choice of a chunk says."""
    return (choice.get("delta") or {}).get("content") or choice.get("text") or ""


def with_text(chunk, text):
    """The chunk with this text in its first choice, and none in the others."""
    for index, choice in enumerate(chunk["choices"]):
        new = text if index == 0 else ""
        if "text" in choice:
            choice["text"] = new
        elif text_of(choice) or new:
            choice["delta"] = {**(choice.get("delta") or {}), "content": new}
    return chunk


def entry(deployment):
    """A deployment as LiteLLM's router has it."""
    return Record.of(
        {
            "model_name": deployment.model_name,
            "litellm_params": deployment.params,
            "model_info": {**deployment.info, "id": deployment.id},
        }
    )


def edits_of(old, new):
    """The edits that make one body of another."""
    sets, removes = changes(old, new)
    return [set_value(pointer, value) for pointer, value in sets] + [remove(pointer) for pointer in removes]


def exception_of(failure):
    """What LiteLLM's hooks get for a failure: an exception of its class."""
    kind = getattr(litellm.exceptions, failure.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = type(failure.kind, (Exception,), {})
    error = kind.__new__(kind)
    error.args = (failure.message,)
    for name, value in (("message", failure.message), ("status_code", failure.status)):
        try:
            setattr(error, name, value)
        except AttributeError:
            pass
    return error


def fitting(function, given):
    """The arguments that a function takes: older files lack the newer ones."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return given
    return {name: value for name, value in given.items() if name in parameters}


def refusal(error):
    """What a hook raised, as an error for the client."""
    if isinstance(error, Unavailable):
        raise error
    if isinstance(error, HTTPException):
        detail = error.detail if isinstance(error.detail, dict) else None
        return refuse(detail_message(error.detail), status=error.status_code, detail=detail)
    if isinstance(error, ProxyException):
        status = int(error.code) if str(error.code).isdigit() else 400
        return refuse(error.message, status=status, kind=error.type, param=error.param)
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 500
    return refuse(str(error) or type(error).__name__, status=status)
