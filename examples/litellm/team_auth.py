"""custom_auth as LiteLLM has it: one key of our own, everybody else is looked up in a directory service."""

import hmac
import os

import httpx
from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

OWN_KEY = os.environ["TEAM_AUTH_KEY"]
DIRECTORY_URL = os.getenv("TEAM_AUTH_DIRECTORY_URL")


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    if hmac.compare_digest(api_key, OWN_KEY):
        return UserAPIKeyAuth(api_key=api_key, user_id="operator", user_role=LitellmUserRoles.PROXY_ADMIN)
    if DIRECTORY_URL is None:
        raise Exception("this key is not known")
    async with httpx.AsyncClient(timeout=3) as client:
        response = await client.get(
            f"{DIRECTORY_URL}/keys",
            params={"path": request.url.path},
            headers={"x-key": api_key, "x-client": request.headers.get("user-agent", "")},
        )
    if response.status_code == 404:
        raise ProxyException(message="ask the platform team for a key", type="auth_error", param="api_key", code=403)
    response.raise_for_status()
    user = response.json()
    return UserAPIKeyAuth(
        api_key=api_key,
        user_id=user["id"],
        team_id=user.get("team"),
        models=user.get("models", []),
        metadata={"via": "directory"},
    )
