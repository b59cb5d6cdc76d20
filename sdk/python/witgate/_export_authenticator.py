"""The exports of an authenticator."""

import json

from wit_world.exports import authenticator as wit

from . import authenticator
from ._export import Single, guarded

single = Single(authenticator.Authenticator)


class Authenticator:
    """`witgate:authenticator/authenticator`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def authenticate(self, request):
        given = authenticator.AuthRequest(
            request.api_key, request.method, request.path, request.query or "", request.headers, request.client_ip
        )
        return _decision(single.get().authenticate(given))


def _decision(decision):
    if isinstance(decision, authenticator.Identity):
        facts = dict(vars(decision))
        facts["models"] = list(facts["models"] or [])
        facts["metadata"] = json.dumps(facts["metadata"] or {})
        facts["extra"] = json.dumps(facts["extra"] or {})
        return wit.Decision_Identity(wit.Identity(**facts))
    if isinstance(decision, authenticator.Key):
        return wit.Decision_Key(decision.api_key)
    if isinstance(decision, authenticator.Denial):
        return wit.Decision_Deny(wit.Denial(decision.status, decision.message, decision.kind, decision.param))
    if isinstance(decision, type(authenticator.decline())):
        return wit.Decision_Decline()
    raise TypeError(
        f"authenticate returned {type(decision).__name__}; return an Identity, a Key, decline() or deny(…)"
    )
