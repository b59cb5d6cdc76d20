"""LiteLLM's exceptions, as far as extension files raise them."""


class _WithStatus(Exception):
    status_code = 500

    def __init__(self, message="", model=None, llm_provider=None, **more):
        super().__init__(message)
        self.message = str(message)
        self.model = model
        self.llm_provider = llm_provider
        if more.get("status_code") is not None:
            self.status_code = more["status_code"]


class AuthenticationError(_WithStatus):
    """401"""

    status_code = 401


class BadRequestError(_WithStatus):
    """400"""

    status_code = 400


class InvalidRequestError(BadRequestError):
    """400"""


class ContentPolicyViolationError(BadRequestError):
    """400"""


class RejectedRequestError(BadRequestError):
    """400"""

    def __init__(self, message="", model=None, llm_provider=None, request_data=None, **more):
        super().__init__(message, model, llm_provider, **more)
        self.request_data = request_data


class PermissionDeniedError(_WithStatus):
    """403"""

    status_code = 403


class NotFoundError(_WithStatus):
    """404"""

    status_code = 404


class Timeout(_WithStatus):
    """408"""

    status_code = 408


class RateLimitError(_WithStatus):
    """429"""

    status_code = 429


class APIError(_WithStatus):
    """500"""

    def __init__(self, status_code=500, message="", llm_provider=None, model=None, **more):
        super().__init__(message, model, llm_provider, status_code=status_code)


class APIConnectionError(_WithStatus):
    """500"""


class InternalServerError(_WithStatus):
    """500"""


class ServiceUnavailableError(_WithStatus):
    """503"""

    status_code = 503


class BudgetExceededError(Exception):
    """400"""

    status_code = 400

    def __init__(self, current_cost=None, max_budget=None, message=None):
        self.current_cost = current_cost
        self.max_budget = max_budget
        self.message = message or f"Budget has been exceeded! Current cost: {current_cost}, Max budget: {max_budget}"
        super().__init__(self.message)


class GuardrailRaisedException(Exception):
    """A guardrail refuses."""

    status_code = 400

    def __init__(self, guardrail_name=None, message="", should_wrap_with_default_message=True, status_code=400):
        self.guardrail_name = guardrail_name
        self.status_code = status_code
        wrapped = f"Guardrail raised an exception, Guardrail: {guardrail_name}, Message: {message}"
        self.message = wrapped if should_wrap_with_default_message else message
        super().__init__(self.message)


class BlockedPiiEntityError(GuardrailRaisedException):
    """A guardrail found an entity that is not allowed."""

    def __init__(self, entity_type=None, guardrail_name=None):
        message = f"Blocked entity detected: {entity_type} by Guardrail: {guardrail_name}."
        super().__init__(guardrail_name, message, should_wrap_with_default_message=False)
