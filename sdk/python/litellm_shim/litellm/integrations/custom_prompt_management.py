"""`CustomPromptManagement`: a subclass fetches prompts by their ids."""

from .custom_logger import CustomLogger
from .prompt_management_base import PromptManagementBase, PromptManagementClient


class CustomPromptManagement(CustomLogger, PromptManagementBase):
    """The base of prompt managers. A subclass writes `get_chat_completion_prompt`."""

    def __init__(self, ignore_prompt_manager_model=False, ignore_prompt_manager_optional_params=False, **_):
        super().__init__()
        self.ignore_prompt_manager_model = ignore_prompt_manager_model
        self.ignore_prompt_manager_optional_params = ignore_prompt_manager_optional_params

    @property
    def integration_name(self):
        return "custom-prompt-management"

    def get_chat_completion_prompt(self, model, messages, non_default_params, *_, **__):
        return model, messages, non_default_params

    async def async_get_chat_completion_prompt(self, model, messages, non_default_params, *_, **__):
        return model, messages, non_default_params
