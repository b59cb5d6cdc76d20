"""HTTP through the gateway's own client. Connections, TLS, proxies and which hosts may be reached are the
host's affair.

    response = http.post("https://api.example.com/v1/judge", json={"text": text}, auth=secrets.bearer("api_key"))
    if response.ok: ...
"""

import json as _json

from componentize_py_types import Err

from . import _host
from .errors import DeniedByHost, Failed, Unavailable

_http = _host.interface("http")


class Response:
    """A response, read to its end."""

    def __init__(self, status, headers, body):
        self.status = status
        #: Pairs of lower-case name and value, in order.
        self.headers = headers
        self.body = body

    @property
    def ok(self):
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_worth_a_retry(self):
        """Whether the same request may succeed later: 408, 429 and 5xx."""
        return self.status in (408, 429) or self.status >= 500

    @property
    def text(self):
        """The body as text, with what is not UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self):
        """The body as JSON."""
        return _json.loads(self.body)

    def header(self, name):
        """The first header of this name."""
        name = name.lower()
        return next((value for given, value in self.headers if given == name), None)

    @property
    def retry_after_ms(self):
        """The server's `retry-after`, when it is a number of seconds, in milliseconds."""
        value = (self.header("retry-after") or "").strip()
        return int(value) * 1000 if value.isdigit() else None

    def summary(self):
        """`status 503: ` and the start of the body, for a reason or an error."""
        text = self.text
        return f"status {self.status}: {text[:300]}{'…' if len(text) > 300 else ''}"


def request(method, url, *, headers=None, json=None, body=b"", auth=None, identity=None, timeout_ms=None):
    """Sends a request and waits for the whole response, whatever its status.

    `headers` is a dict or a list of pairs, `json` a value to encode, `body` bytes or text, `auth` what
    `secrets.bearer`, `basic` or `header` return, `identity` the client certificate that `secrets.identity` returns.
    Trouble on the way raises `Unavailable`, a refusal by the host `DeniedByHost`.
    """
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    pairs = [(name.lower(), str(value)) for name, value in pairs]
    if json is not None:
        body = _json.dumps(json, ensure_ascii=False, separators=(",", ":"))
        if not any(name == "content-type" for name, _ in pairs):
            pairs.append(("content-type", "application/json"))
    if isinstance(body, str):
        body = body.encode()
    wire = _http.Request(method.upper(), url, pairs, bytes(body), timeout_ms)
    try:
        if identity is None:
            answer = _http.send(wire, _auth(auth))
        else:
            answer = _http.send_as_client(wire, _auth(auth), _http.ClientIdentity(*identity))
    except Err as error:
        raise _exception(error.value) from None
    return Response(answer.status, answer.headers, answer.body)


def get(url, **options):
    """A GET request."""
    return request("GET", url, **options)


def post(url, **options):
    """A POST request."""
    return request("POST", url, **options)


def put(url, **options):
    """A PUT request."""
    return request("PUT", url, **options)


def delete(url, **options):
    """A DELETE request."""
    return request("DELETE", url, **options)


def _auth(auth):
    if auth is None:
        return None
    how, what = auth
    return {"bearer": _http.Auth_Bearer, "basic": _http.Auth_Basic, "header": _http.Auth_Header}[how](what)


def _exception(error):
    if isinstance(error, _http.HttpError_Denied):
        return DeniedByHost(error.value)
    if isinstance(error, _http.HttpError_Timeout):
        return Unavailable("no answer in time")
    if isinstance(error, _http.HttpError_Connection):
        return Unavailable(error.value)
    if isinstance(error, _http.HttpError_TooLarge):
        return Failed(f"the response is larger than {error.value} bytes")
    return Failed(error.value)
