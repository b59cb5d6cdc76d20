"""Prompt managers: LiteLLM's prompt management integrations. They fill a chat request with a prompt that is kept elsewhere."""

from dataclasses import dataclass, field


@dataclass
class PromptCall:
    """A chat request that names a prompt."""

    id: str
    #: The model the client asked for, without this plugin's prefix.
    model: str
    #: The client's messages; empty when it sent none.
    messages: list
    #: The client's other parameters.
    params: dict
    prompt_id: str
    #: Values for the places of the template.
    prompt_variables: dict
    prompt_label: "str | None"
    prompt_version: "str | None"
    principal: object


@dataclass
class Prompt:
    """What the request becomes."""

    #: All messages, in place of the client's.
    messages: list
    #: The model that answers, a name of the configuration; None leaves it.
    model: "str | None" = None
    #: Parameters to set; they win over the client's.
    params: dict = field(default_factory=dict)


class PromptManager:
    """Subclass it and write `get_chat_completion_prompt`. `__init__` runs once per instance."""

    def __init__(self, settings):
        self.settings = settings

    def get_chat_completion_prompt(self, call):
        """Fetches the prompt and fills in its variables: return a `Prompt`, or None when there is no such prompt here. An
        exception fails the call unless the operator's `fail` is `open`."""
        raise NotImplementedError
