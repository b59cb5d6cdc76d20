"""The exports of a prompt manager."""

import json

from wit_world.exports import prompt_manager as wit

from . import prompt_manager
from ._export import Single, guarded

single = Single(prompt_manager.PromptManager)


class PromptManager:
    """`witgate:prompt-manager/prompt-manager`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def get_chat_completion_prompt(self, call):
        given = prompt_manager.PromptCall(
            call.id,
            call.model,
            json.loads(call.messages),
            json.loads(call.params),
            call.prompt_id,
            json.loads(call.prompt_variables),
            call.prompt_label,
            call.prompt_version,
            call.principal,
        )
        return _answer(single.get().get_chat_completion_prompt(given))


def _answer(prompt):
    if prompt is None:
        return wit.Answer_Unknown()
    if isinstance(prompt, prompt_manager.Prompt):
        messages = json.dumps(list(prompt.messages), ensure_ascii=False)
        return wit.Answer_Found(wit.Prompt(prompt.model, messages, json.dumps(prompt.params, ensure_ascii=False)))
    raise TypeError(f"get_chat_completion_prompt returned {type(prompt).__name__}; return a Prompt or None")
