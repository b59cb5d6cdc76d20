"""`custom_sso`: a function of an `OpenID` that returns `SSOUserDefinedValues`; and `custom_ui_sso_sign_in_handler`."""

from fastapi import HTTPException, Request
from fastapi_sso.sso.base import OpenID
from litellm.proxy._types import ProxyException, SSOUserDefinedValues
from witgate import OpenID as Who
from witgate import Sso, UserValues, refuse

from .auth import _status, _text, _word
from .loop import run
from .objects import Record

_known = {}


def known_user(user_id):
    """The gateway's row of the user who signs in now."""
    row = _known.get("row")
    if user_id is not None and user_id not in _known.get("ids", ()):
        raise RuntimeError(f"user_info({user_id!r}): a plugin sees the user who signs in, and no other")
    return Record(user_id=user_id, user_info=None if row is None else Record.of(row), keys=[], teams=[])


class Mapping(Sso):
    """The function as a mapping."""

    def __init__(self, function, given):
        super().__init__(given)
        self._function = function

    def map_user(self, user, known):
        given = OpenID(**vars(user))
        own = known.get("user_id") if known else None
        _known.update(row=known, ids=[one for one in (user.id, own, user.email) if one])
        try:
            result = run(self._function(given))
        except (ProxyException, HTTPException) as error:
            return _refusal(error)
        finally:
            _known.clear()
        if isinstance(result, dict) and not isinstance(result, SSOUserDefinedValues):
            result = SSOUserDefinedValues(**result)
        if not isinstance(result, SSOUserDefinedValues):
            raise TypeError(f"custom_sso returned {type(result).__name__}; return SSOUserDefinedValues")
        if not result.user_id:
            raise TypeError("custom_sso returned no user_id")
        return UserValues(
            user_id=str(result.user_id),
            user_email=result.user_email,
            user_role=None if result.user_role is None else _word(result.user_role),
            models=result.models or [],
            max_budget=result.max_budget,
            budget_duration=result.budget_duration,
        )


class SignIn(Sso):
    """The handler's one method as a sign-in."""

    def __init__(self, handler, given):
        super().__init__(given)
        self._handler = handler

    def sign_in(self, request):
        try:
            user = run(self._handler.handle_custom_ui_sso_sign_in(Request(request)))
        except (ProxyException, HTTPException) as error:
            return _refusal(error)
        if not isinstance(user, OpenID):
            raise TypeError(f"handle_custom_ui_sso_sign_in returned {type(user).__name__}; return an OpenID")
        if not user.id:
            return refuse("the proxy in front does not say who signs in", status=401)
        own = ("email", "first_name", "last_name", "display_name", "picture", "provider")
        return Who(
            id=str(user.id),
            team_ids=list(user.team_ids or []),
            user_role=None if user.user_role is None else _word(user.user_role),
            extra_fields=dict(user.extra_fields or {}),
            **{name: user.get(name) for name in own},
        )


def adapter(thing, given):
    """A function is a mapping, anything else has the handler's method."""
    return (SignIn if hasattr(thing, "handle_custom_ui_sso_sign_in") else Mapping)(thing, given)


def _refusal(error):
    if isinstance(error, ProxyException):
        return refuse(error.message, status=_status(error.code))
    return refuse(_text(error.detail), status=_status(error.status_code))
