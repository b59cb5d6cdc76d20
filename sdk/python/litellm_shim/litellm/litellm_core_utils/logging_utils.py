"""Helpers of LiteLLM that guardrails use."""


def convert_litellm_response_object_to_str(response_obj):
    """The texts of all choices, None when there are none."""
    choices = (response_obj or {}).get("choices") or []
    texts = [(choice.get("message") or {}).get("content") or choice.get("text") or "" for choice in choices]
    return "".join(texts) or None
