"""When guardrails run."""

import enum


class PiiEntityType(str):
    """Only a name in signatures."""


class SupportedGuardrailIntegrations(str):
    """Only a name in signatures."""


class GuardrailEventHooks(str, enum.Enum):
    """LiteLLM's modes."""

    pre_call = "pre_call"
    during_call = "during_call"
    post_call = "post_call"
    logging_only = "logging_only"
    pre_mcp_call = "pre_mcp_call"
    during_mcp_call = "during_mcp_call"
