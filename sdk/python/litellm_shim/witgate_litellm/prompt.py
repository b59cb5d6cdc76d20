"""`CustomPromptManagement`: an instance that fetches prompts by their ids."""

import copy
import inspect

from litellm.types.utils import StandardCallbackDynamicParams
from witgate import Prompt, PromptManager, log

from .logger import is_own
from .loop import run


class Adapter(PromptManager):
    """The instance as a prompt manager."""

    def __init__(self, instance, given):
        super().__init__(given)
        self._instance = instance

    def get_chat_completion_prompt(self, call):
        given = {
            "model": call.model,
            "messages": call.messages,
            "non_default_params": call.params,
            "prompt_id": call.prompt_id,
            "prompt_variables": call.prompt_variables or None,
            "prompt_label": call.prompt_label,
            "prompt_version": _version(call.prompt_version),
            "prompt_spec": None,
            "dynamic_callback_params": StandardCallbackDynamicParams(),
            "litellm_logging_obj": None,
            "tools": call.params.get("tools"),
            "ignore_prompt_manager_model": False,
            "ignore_prompt_manager_optional_params": False,
        }
        if not run(_call(self._instance.should_run_prompt_management, given)):
            return None
        # Hooks edit in place what they get.
        result = self._answer(copy.deepcopy(given))
        if not isinstance(result, tuple) or len(result) != 3:
            raise TypeError("get_chat_completion_prompt must return (model, messages, non_default_params)")
        model, messages, params = result
        lost = [name for name in call.params if name not in params]
        if lost:
            log.warn(f"get_chat_completion_prompt took out {', '.join(lost)}; what the client sent stays")
        instance = self._instance
        new = {name: value for name, value in params.items() if name not in call.params or call.params[name] != value}
        return Prompt(
            messages,
            None if model == call.model or _flag(instance, "ignore_prompt_manager_model") else model,
            {} if _flag(instance, "ignore_prompt_manager_optional_params") else new,
        )

    def _answer(self, given):
        """The asynchronous hook, which is the one LiteLLM's proxy calls; the other one when only it was written."""
        instance = self._instance
        for name in ("async_get_chat_completion_prompt", "get_chat_completion_prompt"):
            if is_own(instance, name):
                return run(_call(getattr(instance, name), given))
        template = run(_call(instance._compile_prompt_helper, given))
        return instance._compiled(given["model"], given["messages"], given["non_default_params"], template)


def _call(hook, given):
    """Calls the hook with what it takes: LiteLLM's versions differ in that."""
    takes = inspect.signature(hook).parameters
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return hook(**given)
    return hook(**{name: value for name, value in given.items() if name in takes})


def _version(text):
    return int(text) if text and text.isdigit() else text


def _flag(instance, name):
    return bool(getattr(instance, name, False))
