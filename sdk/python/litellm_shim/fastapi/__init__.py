"""The part of FastAPI that custom_auth and hooks see."""

from types import SimpleNamespace
from urllib.parse import parse_qsl

from witgate_litellm.client import Headers

from . import status


class HTTPException(Exception):
    """A refusal with its status; `detail` is a text or a JSON object."""

    def __init__(self, status_code, detail=None, headers=None):
        super().__init__(f"{status_code}: {detail}")
        self.status_code = status_code
        self.detail = detail
        self.headers = headers


class _Url:
    def __init__(self, path, query, host):
        self.path = path
        self.query = query
        self.hostname = host.split(":")[0] or None

    def __str__(self):
        return f"{self.path}?{self.query}" if self.query else self.path


class Request:
    """The request to be authenticated. Its body is not there: the gateway authenticates before it looks at bodies."""

    def __init__(self, given=None):
        self.method = given.method if given else "POST"
        self.headers = Headers(given.headers if given else ())
        query = given.query if given else ""
        self.url = _Url(given.path if given else "/", query, self.headers.get("host", ""))
        self.base_url = f"http://{self.headers.get('host', '')}/"
        self.query_params = dict(parse_qsl(query))
        self.path_params = {}
        self.cookies = _cookies(self.headers.get("cookie", ""))
        ip = given.client_ip if given else None
        self.client = SimpleNamespace(host=ip, port=0) if ip else None
        self.state = SimpleNamespace()
        self.scope = {"type": "http", "path": self.url.path, "method": self.method}

    async def body(self):
        raise RuntimeError("the body of the request is not given to custom_auth in Witgate; decide by key, path and headers")

    async def json(self):
        return await self.body()

    async def form(self):
        return await self.body()


class Response:
    """Only a name in signatures."""


class WebSocket(Request):
    """Only a name in signatures."""


def Depends(dependency=None, **_):
    """Only a name in signatures."""
    return dependency


def Header(default=None, **_):
    """Only a name in signatures."""
    return default


def _cookies(header):
    pairs = (part.strip().partition("=") for part in header.split(";") if "=" in part)
    return {name: value for name, _, value in pairs}
