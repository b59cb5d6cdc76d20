import re

from witgate import Prompt, PromptManager


class Plugin(PromptManager):
    def get_chat_completion_prompt(self, call):
        template = self.settings["prompts"].get(call.prompt_id)
        if template is None:
            return None  # not one of ours: the next prompt manager is asked

        def value(place):
            return str(call.prompt_variables.get(place[1], place[0]))

        content = re.sub(r"\{\{\s*(\w+)\s*\}\}", value, template)
        return Prompt([{"role": "system", "content": content}, *call.messages])
