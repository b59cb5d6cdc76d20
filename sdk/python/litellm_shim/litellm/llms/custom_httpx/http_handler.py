"""LiteLLM's own clients, which guardrails use."""

import httpx


class AsyncHTTPHandler:
    """A client whose errors are raised."""

    def __init__(self, timeout=None, **_):
        self.client = httpx.AsyncClient(timeout=timeout)

    async def _send(self, method, url, **options):
        options.pop("stream", None)
        options.pop("logging_obj", None)
        response = await self.client.request(method, url, **{k: v for k, v in options.items() if v is not None})
        return response.raise_for_status()

    async def get(self, url, **options):
        return await self._send("GET", url, **options)

    async def post(self, url, **options):
        return await self._send("POST", url, **options)

    async def put(self, url, **options):
        return await self._send("PUT", url, **options)

    async def delete(self, url, **options):
        return await self._send("DELETE", url, **options)

    async def close(self):
        await self.client.aclose()


class HTTPHandler:
    """The same without `await`."""

    def __init__(self, timeout=None, **_):
        self.client = httpx.Client(timeout=timeout)

    def get(self, url, **options):
        return self.client.request("GET", url, **options).raise_for_status()

    def post(self, url, **options):
        return self.client.request("POST", url, **options).raise_for_status()


class httpxSpecialProvider:
    """What a client is for; any word will do."""

    LoggingCallback = "logging_callback"
    GuardrailCallback = "guardrail_callback"


def get_async_httpx_client(llm_provider=None, params=None, **_):
    """A client."""
    return AsyncHTTPHandler(timeout=(params or {}).get("timeout"))
