"""A CustomLogger as LiteLLM has it: prints each call and posts a summary."""

import json
import os

import aiohttp
from litellm.integrations.custom_logger import CustomLogger


class CallCounter(CustomLogger):
    def __init__(self):
        super().__init__()
        self.calls = 0

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.calls += 1
        user = kwargs["litellm_params"]["metadata"].get("user_api_key_user_id")
        await self.post(
            {
                "outcome": "success",
                "model": kwargs["model"],
                "user": user,
                "said": response_obj.choices[0].message.content,
                "tokens": response_obj["usage"]["total_tokens"],
                "cost": kwargs.get("response_cost"),
                "seconds": round((end_time - start_time).total_seconds(), 3) >= 0,
            }
        )

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        await self.post({"outcome": "failure", "model": kwargs["model"], "error": str(kwargs["exception"])})

    async def post(self, summary):
        print(f"call: {json.dumps(summary)}")
        async with aiohttp.ClientSession(headers={"x-source": "call-counter"}) as session:
            async with session.post(os.environ["CALL_COUNTER_URL"], json=summary) as response:
                response.raise_for_status()


proxy_handler_instance = CallCounter()
