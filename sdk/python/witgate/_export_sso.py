"""The exports of a plugin that signs in."""

import json

from wit_world.exports import sso as wit

from . import sso
from ._export import Single, guarded

single = Single(sso.Sso)


class Sso:
    """`witgate:sso/sso`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def authorize(self, login):
        given = sso.Login(login.redirect_uri, login.state, login.nonce, login.code_challenge)
        told = single.get().authorize(given)
        if isinstance(told, str):
            told = sso.Authorization(told)
        if not isinstance(told, sso.Authorization):
            raise TypeError(f"authorize returned {type(told).__name__}; return an Authorization or a URL")
        return wit.Authorization(told.url, told.state)

    @guarded
    def exchange(self, callback):
        given = sso.Callback(callback.code, callback.redirect_uri, callback.nonce, callback.code_verifier)
        return _who(single.get().exchange(given), "exchange")

    @guarded
    def map_user(self, user, known):
        facts = dict(vars(user))
        facts["extra_fields"] = json.loads(facts["extra_fields"])
        told = single.get().map_user(sso.OpenID(**facts), None if known is None else json.loads(known))
        if isinstance(told, sso.Refused):
            return wit.Mapped_Deny(wit.Denial(told.status, told.message))
        if not isinstance(told, sso.UserValues):
            raise TypeError(f"map_user returned {type(told).__name__}; return UserValues or refuse(…)")
        budget = None if told.max_budget is None else str(told.max_budget)
        return wit.Mapped_Values(
            wit.UserValues(
                told.user_id, told.user_email, told.user_role, list(told.models or []), budget, told.budget_duration
            )
        )

    @guarded
    def sign_in(self, request):
        given = sso.SignInRequest(
            request.method, request.path, request.query or "", request.headers, request.client_ip
        )
        return _who(single.get().sign_in(given), "sign_in")


def _who(told, function):
    if isinstance(told, sso.Refused):
        return wit.Who_Deny(wit.Denial(told.status, told.message))
    if not isinstance(told, sso.OpenID):
        raise TypeError(f"{function} returned {type(told).__name__}; return an OpenID or refuse(…)")
    facts = dict(vars(told))
    facts["team_ids"] = list(facts["team_ids"] or [])
    facts["extra_fields"] = json.dumps(facts["extra_fields"] or {})
    return wit.Who_User(wit.Openid(**facts))
