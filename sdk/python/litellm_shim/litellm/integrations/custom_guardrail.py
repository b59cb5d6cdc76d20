"""`CustomGuardrail`. When it runs, and for whom, is decided by the gateway."""

from functools import wraps

from litellm.integrations.custom_logger import CustomLogger


class CustomGuardrail(CustomLogger):
    """The base of guardrails. A subclass writes the hooks it wants."""

    def __init__(self, guardrail_name=None, supported_event_hooks=None, event_hook=None, default_on=False, **kwargs):
        self.guardrail_name = guardrail_name
        self.supported_event_hooks = supported_event_hooks
        self.event_hook = event_hook
        self.default_on = default_on
        self.optional_params = kwargs
        for name in ("mask_request_content", "mask_response_content", "violation_message_template"):
            setattr(self, name, kwargs.get(name))
        super().__init__()

    def should_run_guardrail(self, data, event_type):
        """Always: a plugin that is called was selected."""
        return True

    def get_guardrail_dynamic_request_body_params(self, request_data):
        """The caller's parameters for this guardrail."""
        return dict(request_data.get("guardrail_config") or {})

    def get_guardrail_from_metadata(self, data):
        """The guardrails that the request asked for."""
        return (data.get("metadata") or {}).get("guardrails") or []

    def add_standard_logging_guardrail_information_to_request_data(self, *_, **__):
        """The gateway records what guardrails did."""


def log_guardrail_information(function):
    """The gateway records what guardrails did."""

    @wraps(function)
    async def call(*arguments, **named):
        return await function(*arguments, **named)

    return call
