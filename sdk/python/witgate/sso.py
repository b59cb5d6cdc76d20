"""Signing in: who somebody is, and what that user is to the gateway."""

from dataclasses import dataclass, field


@dataclass
class Login:
    """A login that begins. All four belong into the URL: `redirect_uri`, `state`, `nonce`, and PKCE's `code_challenge` (S256)."""

    redirect_uri: str
    state: str
    nonce: str
    code_challenge: str


@dataclass
class Authorization:
    """Where to send the browser; `state` when the URL has a fixed one in place of the login's."""

    url: str
    state: "str | None" = None


@dataclass
class Callback:
    """What the browser came back with."""

    code: str
    redirect_uri: str
    nonce: str
    code_verifier: str


@dataclass
class OpenID:
    """Who it is, as the identity provider says."""

    id: str
    email: "str | None" = None
    first_name: "str | None" = None
    last_name: "str | None" = None
    display_name: "str | None" = None
    picture: "str | None" = None
    provider: "str | None" = None
    team_ids: list = field(default_factory=list)
    user_role: "str | None" = None
    extra_fields: dict = field(default_factory=dict)


@dataclass
class UserValues:
    """What a signed-in user is to the gateway."""

    user_id: str
    user_email: "str | None" = None
    #: `proxy_admin`, `proxy_admin_viewer`, `internal_user` or `internal_user_viewer`
    user_role: "str | None" = None
    models: list = field(default_factory=list)
    #: US dollars: a number, a Decimal or text.
    max_budget: "object | None" = None
    #: Such as `30d`.
    budget_duration: "str | None" = None


@dataclass
class Refused:
    """Nobody gets in."""

    message: str
    status: int = 403


@dataclass
class SignInRequest:
    """A request that a proxy in front has authenticated."""

    method: str
    path: str
    query: str
    #: Lower-case name and value, in order, without cookies.
    headers: list
    client_ip: "str | None"

    def header(self, name):
        """The first header of this name."""
        name = name.lower()
        return next((value for given, value in self.headers if given == name), None)


def refuse(message, status=403):
    """Refuses; the message is shown to the user."""
    return Refused(message, status)


class Sso:
    """Subclass it and write the functions of the roles in `plugin.toml`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def authorize(self, login):
        """Role `provider`: return an `Authorization`, or its URL."""
        raise NotImplementedError("the plugin does not have the role `provider`")

    def exchange(self, callback):
        """Role `provider`: return an `OpenID` or `refuse(…)`."""
        raise NotImplementedError("the plugin does not have the role `provider`")

    def map_user(self, user, known):
        """Role `mapping`: return `UserValues` or `refuse(…)`. `known` is the gateway's row of this user, a dict, or None."""
        raise NotImplementedError("the plugin does not have the role `mapping`")

    def sign_in(self, request):
        """Role `sign-in`: return an `OpenID` or `refuse(…)`."""
        raise NotImplementedError("the plugin does not have the role `sign-in`")
