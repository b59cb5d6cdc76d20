"""`UserAPIKeyAuth` and what else extension files import of it."""

import enum

from witgate_litellm.objects import Record


class LitellmUserRoles(str, enum.Enum):
    """The roles."""

    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEW_ONLY = "proxy_admin_viewer"
    ORG_ADMIN = "org_admin"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEW_ONLY = "internal_user_viewer"
    TEAM = "team"
    CUSTOMER = "customer"


class UserAPIKeyAuth(Record):
    """Who makes a request. Any member may be given; those that are not are None, empty or 0 as in LiteLLM."""

    def __init__(self, *given, **members):
        super().__init__(*given, **members)
        for name, value in (
            ("models", []),
            ("metadata", {}),
            ("team_models", []),
            ("team_metadata", {}),
            ("permissions", {}),
            ("aliases", {}),
            ("config", {}),
        ):
            if self.get(name) is None:
                self[name] = value

    def __getattr__(self, name):
        if name in ("spend", "team_spend"):
            return self.get(name) or 0.0
        return super().__getattr__(name)


class ProxyException(Exception):
    """A refusal in LiteLLM's own form."""

    def __init__(self, message, type=None, param=None, code=None, headers=None, **_):
        super().__init__(message)
        self.message = str(message)
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers


class ProxyErrorTypes(str, enum.Enum):
    """Types of refusals."""

    budget_exceeded = "budget_exceeded"
    token_not_found_in_db = "token_not_found_in_db"
    key_model_access_denied = "key_model_access_denied"
    team_model_access_denied = "team_model_access_denied"
    user_model_access_denied = "user_model_access_denied"
    expired_key = "expired_key"
    auth_error = "auth_error"
    internal_server_error = "internal_server_error"
    bad_request_error = "bad_request_error"
    not_found_error = "not_found_error"


class CommonProxyErrors(str, enum.Enum):
    """Texts of refusals."""

    not_allowed_access = "Admin-only endpoint. Not allowed to access this."
    no_llm_router = "No models configured on proxy"


class SSOUserDefinedValues(Record):
    """What `custom_sso` returns: `models`, `user_id`, `user_email`, `user_role`, `max_budget`, `budget_duration`."""


class NewUserRequest(Record):
    """Only a name: users are made by the gateway."""


class Member(Record):
    """Only a name: there are no teams yet."""


class TeamMemberAddRequest(Record):
    """Only a name: there are no teams yet."""


class GenerateKeyRequest(Record):
    """Only a name in signatures."""


class SpecialModelNames(str, enum.Enum):
    """Names that stand for sets of models."""

    all_team_models = "all-team-models"
    all_proxy_models = "all-proxy-models"
    no_default_models = "no-default-models"
