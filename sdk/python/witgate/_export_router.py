"""The exports of a router."""

import json

from . import router
from ._export import Single, guarded

single = Single(router.Router)


class Router:
    """`witgate:router/router`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def pick(self, candidates, request):
        given = router.RouteRequest(
            request.id,
            request.call_type,
            request.model,
            request.streaming,
            request.tags,
            request.prompt_tokens,
            request.failed_tries,
            request.principal,
            json.loads(request.metadata),
        )
        return _id(single.get().pick(candidates, given))


def _id(picked):
    if picked is None or isinstance(picked, str):
        return picked
    if isinstance(getattr(picked, "id", None), str):
        return picked.id
    raise TypeError(f"pick returned {type(picked).__name__}; return a candidate, its id or None")
