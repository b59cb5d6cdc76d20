"""What prompt managers share: fetch, fill in, put before the client's messages."""

PromptManagementClient = dict


class PromptManagementBase:
    """The base of prompt managers that write `_compile_prompt_helper`."""

    @property
    def integration_name(self):
        raise NotImplementedError

    def should_run_prompt_management(self, prompt_id, *_, **__):
        return True

    def _compile_prompt_helper(self, prompt_id, *_, **__):
        raise NotImplementedError(f"{type(self).__name__} writes neither get_chat_completion_prompt nor _compile_prompt_helper")

    def merge_messages(self, prompt_template, client_messages):
        return prompt_template + client_messages

    def _compiled(self, model, messages, non_default_params, template):
        merged = self.merge_messages(list(template["prompt_template"]), list(messages))
        params = {**non_default_params, **(template.get("prompt_template_optional_params") or {})}
        own = template.get("prompt_template_model")
        return own or model.replace(f"{self.integration_name}/", ""), merged, params
