"""Part of what extension files import of LiteLLM."""
