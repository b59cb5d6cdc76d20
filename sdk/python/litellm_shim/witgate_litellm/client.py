"""HTTP as the usual clients offer it, over the host's `http`. The egress policy is the plugin's."""

import base64
import json as _json
import re
from urllib.parse import urlencode, urljoin

from witgate import DeniedByHost, Unavailable, Failed, http


class Headers(dict):
    """Headers, found in any case."""

    def __init__(self, pairs=()):
        super().__init__()
        for name, value in pairs.items() if isinstance(pairs, dict) else pairs:
            self[name.lower()] = value

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __setitem__(self, name, value):
        super().__setitem__(name.lower(), value)

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Trouble(Exception):
    """No response. `kind` is `timeout`, `connect`, `denied` or `protocol`."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Answer:
    """A response, as all three clients' responses begin."""

    def __init__(self, method, url, response):
        self.method = method
        self.url = url
        self.status_code = response.status
        self.headers = Headers(response.headers)
        self.content = response.body

    @property
    def text(self):
        found = re.search(r"charset=([\w-]+)", self.headers.get("content-type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self, **options):
        return _json.loads(self.content, **options)


def seconds(timeout):
    """A timeout of any of the clients, as milliseconds."""
    if isinstance(timeout, tuple):
        timeout = max((part for part in timeout if part is not None), default=None)
    for name in ("total", "read", "timeout"):
        if timeout is not None and not isinstance(timeout, (int, float)):
            timeout = getattr(timeout, name, None)
    return None if timeout is None or timeout <= 0 else max(1, int(timeout * 1000))


def exchange(method, url, *, base="", params=None, headers=None, json=None, data=None, content=None, auth=None, timeout=None):
    """One request; raises `Trouble`."""
    url = urljoin(base.rstrip("/") + "/", str(url).lstrip("/")) if base and "://" not in str(url) else str(url)
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
    sent = Headers(headers or {})
    body = content if content is not None else b""
    if json is not None:
        body = _json.dumps(json, ensure_ascii=False, separators=(",", ":"))
        sent.setdefault("content-type", "application/json")
    elif isinstance(data, (dict, list, tuple)):
        body = urlencode(data, doseq=True)
        sent.setdefault("content-type", "application/x-www-form-urlencoded")
    elif data is not None:
        body = data
    if auth:
        user, password = auth
        sent["authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        response = http.request(method, url, headers=dict(sent), body=body, timeout_ms=seconds(timeout))
    except DeniedByHost as error:
        raise Trouble("denied", str(error)) from None
    except Unavailable as error:
        raise Trouble("timeout" if str(error) == "no answer in time" else "connect", str(error)) from None
    except Failed as error:
        raise Trouble("protocol", str(error)) from None
    return Answer(method.upper(), url, response)
