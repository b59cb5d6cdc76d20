"""The base of `custom_ui_sso_sign_in_handler`."""

from fastapi_sso.sso.base import OpenID

from litellm.integrations.custom_logger import CustomLogger


class CustomSSOLoginHandler(CustomLogger):
    """Reads who a request is from; a subclass says how."""

    async def handle_custom_ui_sso_sign_in(self, request):
        """The user whom a proxy in front names in LiteLLM's own headers."""
        user_id = request.headers.get("x-litellm-user-id")
        return OpenID(id=user_id, email=request.headers.get("x-litellm-user-email"), provider="proxy")
