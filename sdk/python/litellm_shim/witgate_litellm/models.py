"""`litellm.completion`: a call of a model through the gateway."""

from litellm import exceptions
from litellm.types.utils import ModelResponse
from witgate import DeniedByHost, Unavailable, llm

# Where a call goes and with which key is the gateway's affair.
_OPERATORS = ("api_key", "api_base", "base_url", "api_version", "custom_llm_provider", "extra_headers", "headers")
_BY_STATUS = {
    400: exceptions.BadRequestError,
    401: exceptions.AuthenticationError,
    403: exceptions.PermissionDeniedError,
    404: exceptions.NotFoundError,
    408: exceptions.Timeout,
    429: exceptions.RateLimitError,
    503: exceptions.ServiceUnavailableError,
}


def chat(model, messages, timeout, params):
    """The response as LiteLLM's object; failures as its exceptions."""
    given = {name: value for name, value in params.items() if value is not None and name not in _OPERATORS}
    if given.pop("stream", False):
        raise exceptions.BadRequestError("a plugin gets whole answers; leave out stream=True", model)
    timeout_ms = int(timeout * 1000) if isinstance(timeout, (int, float)) else None
    try:
        answer = llm.chat(model, messages, timeout_ms=timeout_ms, **given)
    except DeniedByHost as error:
        raise exceptions.PermissionDeniedError(str(error), model) from error
    except Unavailable as error:
        raise exceptions.Timeout(str(error), model) from error
    except llm.CallFailed as error:
        kind = _BY_STATUS.get(error.status, exceptions.APIError)
        raise kind(message=str(error), model=model, status_code=error.status) from error
    made = ModelResponse.of(answer.body)
    cost = float(answer.cost_usd) if answer.cost_usd else None
    object.__setattr__(made, "_hidden_params", {"response_cost": cost, "litellm_call_id": answer.call_id})
    return made
