"""LiteLLM's base of all secret managers; its extensions build on `CustomSecretManager`."""

from litellm.integrations.custom_secret_manager import CustomSecretManager as BaseSecretManager  # noqa: F401
