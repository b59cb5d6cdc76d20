"""`custom_key_generate`: an async function of a `GenerateKeyRequest` that returns whether a key may be made."""

from fastapi import HTTPException
from litellm.proxy._types import GenerateKeyRequest, ProxyException
from witgate import KeyPolicy, allow_key, deny_key, edit_key

from .auth import _text
from .loop import run
from .objects import plain


class Adapter(KeyPolicy):
    """The function as a key policy."""

    def __init__(self, function, given):
        super().__init__(given)
        self._function = function

    def judge(self, request):
        if request.action != "generate":
            return allow_key()  # LiteLLM asks about new keys only
        data = GenerateKeyRequest.of(request.body)
        try:
            result = run(self._function(data))
        except HTTPException as error:
            return deny_key(_text(error.detail))
        except ProxyException as error:
            return deny_key(error.message)
        if not isinstance(result, dict):
            raise TypeError(
                f"custom_key_generate returned {type(result).__name__}; return {{'decision': bool, 'message': str}}"
            )
        if not result.get("decision", True):
            return deny_key(str(result.get("message") or "Authentication Failed - Custom Auth Rule"))
        # LiteLLM goes on with the object it gave the function, so what the function changed in it counts.
        changed = plain(data)
        return allow_key() if changed == request.body else edit_key(changed)
