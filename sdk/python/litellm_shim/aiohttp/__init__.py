"""The part of aiohttp's client that plugins use, over the host's HTTP."""

from urllib.parse import urljoin

from witgate_litellm.client import Headers, Trouble, exchange


class ClientError(Exception):
    """Base of the others."""


class ClientConnectionError(ClientError):
    """There is no connection."""


class ClientConnectorError(ClientConnectionError):
    """There is no connection."""


class ServerTimeoutError(ClientConnectionError, TimeoutError):
    """Nothing came in time."""


class ClientResponseError(ClientError):
    """The status is an error."""

    def __init__(self, status, message):
        super().__init__(f"{status}, message={message!r}")
        self.status = status
        self.message = message


class ContentTypeError(ClientResponseError):
    """The body is not of the type that was asked for."""


class ClientTimeout:
    """Seconds for the whole exchange."""

    def __init__(self, total=None, connect=None, sock_read=None, sock_connect=None):
        self.total = total if total is not None else sock_read


class TCPConnector:
    """Accepted and without effect: the gateway pools connections."""

    def __init__(self, **_):
        pass


class BasicAuth:
    """User and password."""

    def __init__(self, login, password=""):
        self.login = login
        self.password = password

    def __iter__(self):
        return iter((self.login, self.password))


class ClientResponse:
    """A response, read to its end."""

    def __init__(self, answer):
        self._answer = answer
        self.status = answer.status_code
        self.headers = answer.headers
        self.url = answer.url
        self.reason = ""
        self.content_type = answer.headers.get("content-type", "application/octet-stream").split(";")[0]

    @property
    def ok(self):
        return self.status < 400

    async def text(self, **_):
        return self._answer.text

    async def read(self):
        return self._answer.content

    async def json(self, content_type=None, **_):
        return self._answer.json()

    def raise_for_status(self):
        if not self.ok:
            raise ClientResponseError(self.status, f"{self.url}")

    def release(self):
        pass


class _Pending:
    """A request that is sent when it is awaited or entered."""

    def __init__(self, send):
        self._send = send

    async def _result(self):
        return self._send()

    def __await__(self):
        return self._result().__await__()

    async def __aenter__(self):
        return self._send()

    async def __aexit__(self, *_):
        pass


class ClientSession:
    """Headers and credentials that each request gets."""

    def __init__(self, base_url="", *, headers=None, timeout=None, auth=None, raise_for_status=False, **_):
        self._base = str(base_url or "")
        self.headers = Headers(headers or {})
        self._timeout = timeout
        self._auth = auth
        self._raise = raise_for_status
        self.closed = False

    def request(self, method, url, *, headers=None, timeout=None, auth=None, ssl=None, raise_for_status=None, **options):
        def send():
            target = urljoin(self._base, str(url)) if self._base else str(url)
            try:
                answer = exchange(
                    method,
                    target,
                    headers={**self.headers, **dict(headers or {})},
                    timeout=timeout if timeout is not None else self._timeout,
                    auth=auth or self._auth,
                    **options,
                )
            except Trouble as trouble:
                kind = ServerTimeoutError if trouble.kind == "timeout" else ClientConnectionError
                raise kind(str(trouble)) from None
            response = ClientResponse(answer)
            if self._raise if raise_for_status is None else raise_for_status:
                response.raise_for_status()
            return response

        return _Pending(send)

    async def close(self):
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


def _add(name):
    def of_session(self, url, **options):
        return self.request(name, url, **options)

    setattr(ClientSession, name.lower(), of_session)


for _name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    _add(_name)
