"""The exports of a guardrail."""

import json

from wit_world.exports import guardrail as wit
from wit_world.imports import body as wit_body

from . import guardrail
from ._export import Single, guarded

_PHASES = {phase: phase.name.lower() for phase in wit.Phase}
_EDITS = {"text": wit_body.Edit_Text, "value": wit_body.Edit_Value, "remove": wit_body.Edit_Remove}

single = Single(guardrail.Guardrail)


class Guardrail:
    """`witgate:guardrail/guardrail`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def check(self, call, body):
        return _verdict(single.get().check(_call(call), guardrail.Body(body)))

    @guarded
    def open_stream(self, call):
        stream = single.get().open_stream(_call(call))
        return None if stream is None else StreamGuard(stream)


class StreamGuard:
    """The resource `stream-guard`"""

    def __init__(self, stream):
        self._stream = stream

    @guarded
    def push(self, channel, text):
        return _stream_verdict(self._stream.push(channel, text))

    @guarded
    def finish(self, channel):
        return _stream_verdict(self._stream.finish(channel))

    def findings(self):
        return _findings(self._stream.findings())


def _call(call):
    return guardrail.Call(
        call.id, _PHASES[call.phase], call.call_type, call.model, call.principal, json.loads(call.params)
    )


def _findings(found):
    return [wit.Finding(str(kind), int(count)) for kind, count in (found or {}).items()]


def _block(block):
    detail = None if block.detail is None else json.dumps(block.detail)
    return wit.Block(block.message, block.status, detail, _findings(block.findings))


def _verdict(verdict):
    if verdict is None:
        return wit.Verdict_Allow()
    if isinstance(verdict, guardrail.Edits):
        edits = [_EDITS[how](what) for how, what in verdict.edits]
        return wit.Verdict_Edit(wit.Edits(edits, _findings(verdict.findings)))
    if isinstance(verdict, guardrail.Block):
        return wit.Verdict_Block(_block(verdict))
    if isinstance(verdict, guardrail.CouldNotJudge):
        return wit.Verdict_CouldNotJudge(verdict.reason)
    raise TypeError(f"check returned {type(verdict).__name__}; return None, edit(…), block(…) or could_not_judge(…)")


def _stream_verdict(verdict):
    if isinstance(verdict, str):
        return wit.StreamVerdict_Release(verdict)
    if isinstance(verdict, guardrail.Block):
        return wit.StreamVerdict_Block(_block(verdict))
    raise TypeError(f"a stream guard returned {type(verdict).__name__}; return text or block(…)")
