"""The part of httpx that plugins use, over the host's HTTP."""

from witgate_litellm.client import Headers, Trouble, exchange

_UNSUPPORTED = "is not available in a plugin: requests go through the gateway's own client"


class HTTPError(Exception):
    """Base of everything that goes wrong."""

    def __init__(self, message, request=None):
        super().__init__(message)
        self.request = request


class RequestError(HTTPError):
    """There is no response."""


class TransportError(RequestError):
    """There is no response, and it is the connection's fault."""


class TimeoutException(TransportError):
    """Nothing came in time."""


class ReadTimeout(TimeoutException):
    """Nothing came in time."""


class ConnectTimeout(TimeoutException):
    """Nothing came in time."""


class NetworkError(TransportError):
    """The connection failed."""


class ConnectError(NetworkError):
    """The connection could not be made."""


class ProtocolError(TransportError):
    """The exchange broke the rules."""


class HTTPStatusError(HTTPError):
    """The response's status is an error; raised by `raise_for_status`."""

    def __init__(self, message, *, request=None, response=None):
        super().__init__(message, request)
        self.response = response


class Timeout:
    """Seconds; the longest of what is given counts for the whole exchange."""

    def __init__(self, timeout=None, *, connect=None, read=None, write=None, pool=None):
        given = [part for part in (timeout, connect, read, write) if part is not None]
        self.total = max(given, default=None)


class Limits:
    """Accepted and without effect: the gateway pools connections."""

    def __init__(self, **_):
        pass


class Request:
    """What was sent."""

    def __init__(self, method, url):
        self.method = method
        self.url = url


class Response:
    """A response, read to its end."""

    def __init__(self, answer):
        self._answer = answer
        self.status_code = answer.status_code
        self.headers = answer.headers
        self.content = answer.content
        self.text = answer.text
        self.url = answer.url
        self.request = Request(answer.method, answer.url)
        self.reason_phrase = ""

    def json(self, **options):
        return self._answer.json(**options)

    async def aread(self):
        return self.content

    def read(self):
        return self.content

    @property
    def is_success(self):
        return 200 <= self.status_code < 300

    @property
    def is_error(self):
        return self.status_code >= 400

    def raise_for_status(self):
        if self.is_error:
            message = f"status {self.status_code} for {self.request.method} {self.url}"
            raise HTTPStatusError(message, request=self.request, response=self)
        return self


def _send(method, url, base_url="", defaults=None, timeout=None, follow_redirects=None, **options):
    options["headers"] = {**(defaults or {}), **dict(options.get("headers") or {})}
    try:
        return Response(exchange(method, url, base=str(base_url), timeout=timeout, **options))
    except Trouble as trouble:
        kinds = {"timeout": ReadTimeout, "connect": ConnectError, "denied": ConnectError}
        raise kinds.get(trouble.kind, ProtocolError)(str(trouble), request=Request(method, url)) from None


class _Base:
    def __init__(self, *, base_url="", headers=None, timeout=None, auth=None, params=None, **other):
        if other.get("transport") is not None or other.get("proxy") is not None:
            raise RuntimeError(f"a transport or proxy {_UNSUPPORTED}")
        self.base_url = base_url
        self.headers = Headers(headers or {})
        self.timeout = timeout
        self._auth = auth
        self._params = params or {}
        self.is_closed = False

    def _request(self, method, url, **options):
        options.setdefault("timeout", self.timeout)
        options.setdefault("auth", self._auth)
        options["params"] = {**self._params, **(options.get("params") or {})}
        return _send(method, url, self.base_url, self.headers, **options)


class Client(_Base):
    """A client; without state of its own."""

    def request(self, method, url, **options):
        return self._request(method, url, **options)

    def close(self):
        self.is_closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncClient(_Base):
    """The same for `await`; the exchange itself blocks, there is nothing else to run."""

    async def request(self, method, url, **options):
        return self._request(method, url, **options)

    async def aclose(self):
        self.is_closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()


def request(method, url, **options):
    """One request."""
    return _send(method, url, **options)


def _add(name):
    def plain(url, **options):
        return _send(name, url, **options)

    def of_client(self, url, **options):
        return self._request(name, url, **options)

    async def of_async_client(self, url, **options):
        return self._request(name, url, **options)

    globals()[name.lower()] = plain
    setattr(Client, name.lower(), of_client)
    setattr(AsyncClient, name.lower(), of_async_client)


for _name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    _add(_name)
