"""A CustomLogger with LiteLLM's call hooks: edits requests, answers and streams, refuses, and logs."""

import os
from typing import Any, AsyncGenerator, Literal, Optional

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.proxy_server import DualCache, UserAPIKeyAuth
from litellm.types.utils import ModelResponseStream


class MyCustomHandler(CustomLogger):
    def __init__(self):
        super().__init__()
        self.model = os.getenv("CALL_HOOKS_MODEL", "my-new-model")

    async def async_pre_call_hook(
        self,
        user_api_key_dict: UserAPIKeyAuth,
        cache: DualCache,
        data: dict,
        call_type: Literal["completion", "text_completion", "embeddings", "image_generation", "moderation", "audio_transcription"],
    ):
        last = (data.get("messages") or [{}])[-1].get("content") or ""
        if "bad language" in last:
            return "This violates our policy."
        if "forbidden" in last:
            raise HTTPException(status_code=403, detail={"error": "Not for you.", "reason": "forbidden word"})
        data["model"] = self.model
        data["metadata"]["edited_by"] = "call_hooks"

    async def async_post_call_success_hook(self, data: dict, user_api_key_dict: UserAPIKeyAuth, response):
        response.choices[0].message.content += " (checked)"

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: Any, request_data: dict
    ) -> AsyncGenerator[ModelResponseStream, None]:
        async for chunk in response:
            if chunk.choices and chunk.choices[0].delta.content:
                chunk.choices[0].delta.content = chunk.choices[0].delta.content.upper()
            yield chunk

    async def async_post_call_failure_hook(
        self,
        request_data: dict,
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,
        traceback_str: Optional[str] = None,
    ) -> Optional[HTTPException]:
        if getattr(original_exception, "status_code", None) == 429:
            return HTTPException(status_code=503, detail="We are busy, come back later.")

    async def async_post_call_response_headers_hook(
        self, data, user_api_key_dict, response, request_headers=None, litellm_call_info=None
    ):
        return {"x-handled-by": "call-hooks"}

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        print(f"success: {kwargs['model']}")


proxy_handler_instance = MyCustomHandler()
