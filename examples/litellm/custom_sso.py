"""custom_sso as LiteLLM has it: people of our domain get in, with the role that their groups give them."""

import os

from fastapi_sso.sso.base import OpenID
from litellm.proxy._types import LitellmUserRoles, ProxyException, SSOUserDefinedValues
from litellm.proxy.management_endpoints.internal_user_endpoints import user_info

DOMAIN = os.getenv("SSO_DOMAIN", "example.com")


async def my_handler(userIDPInfo: OpenID) -> SSOUserDefinedValues:
    if userIDPInfo.id is None:
        raise ValueError("the identity provider gave no id")
    email = userIDPInfo.email or ""
    if not email.endswith(f"@{DOMAIN}"):
        raise ProxyException(message=f"only people of {DOMAIN} may enter", type="auth_error", param="email", code=403)
    known = await user_info(user_id=userIDPInfo.id)
    print(f"{userIDPInfo.id} {'comes back' if known.user_info else 'is new'}")
    groups = getattr(userIDPInfo, "team_ids", None) or []
    role = LitellmUserRoles.PROXY_ADMIN if "gateway-admins" in groups else LitellmUserRoles.INTERNAL_USER
    return SSOUserDefinedValues(
        models=["gpt-4o"],
        user_id=userIDPInfo.id,
        user_email=email,
        user_role=role.value,
        max_budget=10,
        budget_duration="30d",
    )
