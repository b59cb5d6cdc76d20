"""The part of requests that plugins use, over the host's HTTP."""

from witgate_litellm.client import Headers, Trouble, exchange

from . import exceptions
from .exceptions import ConnectionError, HTTPError, RequestException, Timeout


class Response:
    """A response, read to its end."""

    def __init__(self, answer):
        self._answer = answer
        self.status_code = answer.status_code
        self.headers = answer.headers
        self.content = answer.content
        self.text = answer.text
        self.url = answer.url
        self.reason = ""

    @property
    def ok(self):
        return self.status_code < 400

    def __bool__(self):
        return self.ok

    def json(self, **options):
        return self._answer.json(**options)

    def raise_for_status(self):
        if not self.ok:
            raise HTTPError(f"status {self.status_code} for {self.url}", response=self)


def request(method, url, **options):
    """One request."""
    for name in ("verify", "allow_redirects", "stream", "cert", "cookies"):
        options.pop(name, None)
    if options.pop("proxies", None) or options.pop("files", None):
        raise RequestException("proxies and files are not available in a plugin")
    try:
        return Response(exchange(method, url, **options))
    except Trouble as trouble:
        kind = Timeout if trouble.kind == "timeout" else ConnectionError
        raise kind(str(trouble)) from None


class Session:
    """Headers and credentials that each request gets."""

    def __init__(self):
        self.headers = Headers()
        self.auth = None
        self.params = {}

    def request(self, method, url, **options):
        options["headers"] = {**self.headers, **(options.get("headers") or {})}
        options["params"] = {**self.params, **(options.get("params") or {})}
        options.setdefault("auth", self.auth)
        return request(method, url, **options)

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def session():
    """A session."""
    return Session()


def _add(name):
    def plain(url, *arguments, **options):
        # The one positional argument: `params` of get, `data` of the others.
        for value in arguments:
            options["params" if name in ("GET", "HEAD", "OPTIONS") else "data"] = value
        return request(name, url, **options)

    def of_session(self, url, *arguments, **options):
        for value in arguments:
            options["params" if name in ("GET", "HEAD", "OPTIONS") else "data"] = value
        return self.request(name, url, **options)

    globals()[name.lower()] = plain
    setattr(Session, name.lower(), of_session)


for _name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    _add(_name)
