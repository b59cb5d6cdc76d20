"""The exports of a log sink."""

from wit_world.exports import log_sink as wit

from . import http, log_sink
from ._export import Single, guarded

_KINDS = {kind: kind.name.lower() for kind in wit.EventKind}

single = Single(log_sink.LogSink)


class LogSink:
    """`witgate:log-sink/log-sink`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def deliver(self, batch):
        events = [log_sink.Event(one.id, _KINDS[one.kind], one.payload, one.context) for one in batch]
        return _outcome(single.get().deliver(events))

    @guarded
    def health_check(self):
        single.get().health_check()


def _outcome(outcome):
    if isinstance(outcome, http.Response):
        outcome = log_sink.from_response(outcome)
    match outcome:
        case None:
            return wit.Outcome_Delivered()
        case ("retry", reason, after_ms):
            return wit.Outcome_Retry(wit.Again(after_ms, reason))
        case ("rejected", reason):
            return wit.Outcome_Rejected(reason)
        case ("partial", retry, rejected, after_ms):
            refused = [wit.Rejection(index, reason) for index, reason in rejected.items()]
            return wit.Outcome_Partial(wit.Partial(retry, refused, after_ms))
    raise TypeError(
        f"deliver returned {type(outcome).__name__}; return None, retry(…), rejected(…), partial(…) or a response"
    )
