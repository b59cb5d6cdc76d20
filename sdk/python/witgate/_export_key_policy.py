"""The exports of a key policy."""

import json

from wit_world.exports import key_policy as wit

from . import key_policy
from ._export import Single, guarded

single = Single(key_policy.KeyPolicy)


class KeyPolicy:
    """`witgate:key-policy/key-policy`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def judge(self, request):
        given = key_policy.KeyRequest(request.action.name.lower(), request.caller, json.loads(request.body))
        return _verdict(single.get().judge(given))


def _verdict(verdict):
    if isinstance(verdict, type(key_policy.allow_key())):
        return wit.Verdict_Allow()
    if isinstance(verdict, key_policy.KeyEdit):
        return wit.Verdict_Edit(json.dumps(verdict.body))
    if isinstance(verdict, key_policy.KeyDenial):
        return wit.Verdict_Deny(verdict.message)
    raise TypeError(f"judge returned {type(verdict).__name__}; return allow_key(), edit_key(…) or deny_key(…)")
