"""`custom_auth`: a function of the request and the key that returns a `UserAPIKeyAuth` or a key, or raises."""

from fastapi import HTTPException, Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
from witgate import Authenticator, Identity, Key, deny, log

from .loop import run
from .objects import plain

#: Members that have a place of their own in an identity.
_OWN = {
    "key_alias": "key_alias",
    "user_id": "user_id",
    "user_email": "user_email",
    "user_role": "role",
    "team_id": "team_id",
    "team_alias": "team_alias",
    "org_id": "org_id",
    "end_user_id": "end_user_id",
}


class Adapter(Authenticator):
    """The function as an authenticator."""

    def __init__(self, function, given):
        super().__init__(given)
        self._function = function

    def authenticate(self, request):
        try:
            result = run(self._function(Request(request), request.api_key))
        except ProxyException as error:
            return deny(error.message, status=_status(error.code), kind=error.type, param=error.param)
        except HTTPException as error:
            return deny(_text(error.detail), status=_status(error.status_code))
        except Exception as error:
            log.debug(f"custom_auth raised {type(error).__name__}")
            return deny(f"Authentication Error, {error}".rstrip(", "))
        if isinstance(result, str):
            return Key(result)
        if isinstance(result, dict):
            result = UserAPIKeyAuth(**result)
        if not isinstance(result, UserAPIKeyAuth):
            raise TypeError(f"custom_auth returned {type(result).__name__}; return a UserAPIKeyAuth or a key as text")
        return identity(result)


def identity(result):
    """A `UserAPIKeyAuth` as an identity."""
    given = {name: value for name, value in plain(result.model_dump()).items() if value is not None}
    facts = {place: _word(given.pop(name)) for name, place in _OWN.items() if name in given}
    for name in ("token", "request_route"):
        given.pop(name, None)
    return Identity(
        api_key=given.pop("api_key", None),
        models=given.pop("models", []),
        metadata=given.pop("metadata", {}),
        extra={name: _json(value) for name, value in given.items() if value not in ({}, [], "")},
        **facts,
    )


def _word(value):
    return str(getattr(value, "value", value))


def _json(value):
    return value if isinstance(value, (str, int, float, bool, list, dict)) else str(value)


def _text(detail):
    if isinstance(detail, dict):
        error = detail.get("error")
        return str(error.get("message") if isinstance(error, dict) else error or detail.get("message") or detail)
    return str(detail)


def _status(code):
    try:
        return int(code)
    except (TypeError, ValueError):
        return 401
