"""A CustomGuardrail as LiteLLM has it: edits what is rude on the way in, refuses what is rude on the way out."""

import re
from typing import Literal, Optional, Union

from fastapi import HTTPException
from litellm._logging import verbose_proxy_logger
from litellm.caching.caching import DualCache
from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.utils import ModelResponse


class PoliteGuardrail(CustomGuardrail):
    def __init__(self, rude_word: str = "darn", **kwargs):
        self.rude = re.compile(re.escape(rude_word), re.IGNORECASE)
        super().__init__(**kwargs)

    async def async_pre_call_hook(
        self,
        user_api_key_dict: UserAPIKeyAuth,
        cache: DualCache,
        data: dict,
        call_type: Literal["completion", "text_completion", "embeddings"],
    ) -> Optional[Union[Exception, str, dict]]:
        for message in data.get("messages") or []:
            content = message.get("content")
            if isinstance(content, str) and self.rude.search(content):
                message["content"] = self.rude.sub("*" * 4, content)
                verbose_proxy_logger.info("%s: softened a message of %s", self.guardrail_name, user_api_key_dict.user_id)
        return data

    async def async_moderation_hook(self, data: dict, user_api_key_dict: UserAPIKeyAuth, call_type: str):
        if any("shout" in str(message.get("content")) for message in data["messages"]):
            raise ValueError("no shouting, please")

    async def async_post_call_success_hook(self, data: dict, user_api_key_dict: UserAPIKeyAuth, response):
        if isinstance(response, ModelResponse):
            for choice in response.choices:
                if self.rude.search(choice.message.content or ""):
                    raise HTTPException(status_code=422, detail={"error": "the answer was rude"})

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict: UserAPIKeyAuth, response, request_data: dict):
        held = ""
        async for chunk in response:
            held += chunk.choices[0].delta.content or ""
            if self.rude.search(held):
                raise HTTPException(status_code=422, detail={"error": "the answer was rude"})
            # The end of the text may be the beginning of the word.
            keep = next((n for n in range(3, 0, -1) if self.rude.pattern[:n].lower() == held[-n:].lower()), 0)
            chunk.choices[0].delta.content, held = held[: len(held) - keep], held[len(held) - keep :]
            yield chunk
        if held:
            chunk.choices[0].delta.content = held
            yield chunk
