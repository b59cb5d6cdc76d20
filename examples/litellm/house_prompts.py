"""Prompts by their ids, with variables: LiteLLM's custom prompt management."""

from typing import List, Optional, Tuple

from litellm.integrations.custom_prompt_management import CustomPromptManagement
from litellm.types.llms.openai import AllMessageValues
from litellm.types.utils import StandardCallbackDynamicParams

PROMPTS = {
    "greeting": "Greet {name}, who is {age} years old and lives in {city}.",
    "summary": "Summarise what follows in {words} words.",
}


class HousePrompts(CustomPromptManagement):
    def get_chat_completion_prompt(
        self,
        model: str,
        messages: List[AllMessageValues],
        non_default_params: dict,
        prompt_id: str,
        prompt_variables: Optional[dict],
        dynamic_callback_params: StandardCallbackDynamicParams,
    ) -> Tuple[str, List[AllMessageValues], dict]:
        template = PROMPTS.get(prompt_id)
        if template is None:
            return model, messages, non_default_params
        messages.insert(0, {"role": "system", "content": template.format(**(prompt_variables or {}))})
        non_default_params["temperature"] = 0.2
        return model, messages, non_default_params


prompt_management = HousePrompts()
