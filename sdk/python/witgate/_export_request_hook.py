"""The exports of a request hook."""

import json

from wit_world.exports import request_hook as wit
from wit_world.imports import body as wit_body

from . import request_hook
from ._export import Single, guarded
from .guardrail import Body, Edits

__all__ = ["RequestHook", "StreamHook", "single"]

_EDITS = {"text": wit_body.Edit_Text, "value": wit_body.Edit_Value, "remove": wit_body.Edit_Remove}

single = Single(request_hook.RequestHook)


class RequestHook:
    """`witgate:request-hook/request-hook`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def pre_call(self, call, request):
        result = single.get().pre_call(_call(call), Body(request))
        if isinstance(result, request_hook.Answer):
            return wit.PreDecision_Respond(str(result.text))
        if isinstance(result, request_hook.Refusal):
            return wit.PreDecision_Refuse(_error(result))
        return wit.PreDecision_Proceed(_edits(result, "pre_call"))

    @guarded
    def pre_routing(self, call, request):
        return _decision(single.get().pre_routing(_call(call), Body(request)), "pre_routing")

    @guarded
    def filter_deployments(self, call, request, deployments):
        offered = [_deployment(one) for one in deployments]
        result = single.get().filter_deployments(_call(call), Body(request), offered)
        if isinstance(result, request_hook.Refusal):
            return wit.Selection_Refuse(_error(result))
        kept = offered if result is None else result
        return wit.Selection_Keep([one.id if isinstance(one, request_hook.Deployment) else str(one) for one in kept])

    @guarded
    def pre_call_deployment(self, call, request, deployment):
        result = single.get().pre_call_deployment(_call(call), Body(request), _deployment(deployment))
        return _decision(result, "pre_call_deployment")

    @guarded
    def post_call_success(self, call, request, response):
        result = single.get().post_call_success(_call(call), Body(request), Body(response))
        return _decision(result, "post_call_success")

    @guarded
    def open_stream(self, call, request):
        stream = single.get().open_stream(_call(call), Body(request))
        return None if stream is None else StreamHook(stream)

    @guarded
    def post_call_failure(self, call, request, failure):
        told = request_hook.CallFailure(failure.class_, failure.status, failure.message)
        result = single.get().post_call_failure(_call(call), Body(request), told)
        if result is None:
            return None
        if isinstance(result, request_hook.Refusal):
            return _error(result)
        raise TypeError(f"post_call_failure returned {type(result).__name__}; return None or refuse(…)")

    @guarded
    def response_headers(self, call, request, reply, response):
        told = request_hook.Reply(reply.status, None if reply.deployment is None else _deployment(reply.deployment))
        body = None if response is None else Body(response)
        result = single.get().response_headers(_call(call), Body(request), told, body)
        return [(str(name), str(value)) for name, value in dict(result or {}).items()]


class StreamHook:
    """The resource `stream-hook`"""

    def __init__(self, stream):
        self._stream = stream

    @guarded
    def push(self, chunk):
        return _piece(self._stream.push(json.loads(chunk)))

    @guarded
    def finish(self):
        return _piece(self._stream.finish())


def _call(call):
    return request_hook.HookCall(call.id, call.call_type, call.model, call.streaming, call.principal)


def _deployment(own):
    return request_hook.Deployment(own.id, own.model_name, json.loads(own.params), json.loads(own.info))


def _error(refusal):
    detail = refusal.detail if isinstance(refusal.detail, dict) else None
    return wit.HttpError(
        int(refusal.status),
        str(refusal.message),
        None if refusal.kind is None else str(refusal.kind),
        None if refusal.param is None else str(refusal.param),
        None if detail is None else json.dumps(detail),
    )


def _edits(result, hook):
    if result is None:
        return []
    edits = result.edits if isinstance(result, Edits) else result
    if not isinstance(edits, (list, tuple)):
        raise TypeError(f"{hook} returned {type(result).__name__}; return None, a list of edits or refuse(…)")
    return [_EDITS[how](what) for how, what in edits]


def _decision(result, hook):
    if isinstance(result, request_hook.Refusal):
        return wit.Decision_Refuse(_error(result))
    return wit.Decision_Proceed(_edits(result, hook))


def _piece(result):
    if result is None:
        return wit.Piece_Keep()
    if isinstance(result, request_hook.Refusal):
        return wit.Piece_Fail(_error(result))
    if isinstance(result, request_hook.End):
        return wit.Piece_End([json.dumps(chunk) for chunk in result.chunks])
    if isinstance(result, dict):
        result = [result]
    if isinstance(result, (list, tuple)):
        return wit.Piece_Replace([json.dumps(chunk) for chunk in result])
    raise TypeError(f"a stream hook returned {type(result).__name__}; return None, chunks, end(…) or refuse(…)")
