"""JSON Web Tokens of others, checked by the host: it fetches the signer's keys, keeps them, and does the cryptography.

    claims = jwt.verify(token, "https://idp.example.com/keys", issuer="https://idp.example.com", audience="gateway")
"""

import json

from componentize_py_types import Err

from . import _host
from .errors import DeniedByHost, Failed, Unavailable

_jwt = _host.interface("jwt")
_ERRORS = {"Denied": DeniedByHost, "Unavailable": Unavailable, "Invalid": Failed}


def verify(token, keys_url, issuer, audience=None, nonce=None):
    """The claims of a token whose signature, times, issuer and, when given, audience and nonce are right."""
    try:
        return json.loads(_jwt.verify(token, keys_url, _jwt.Expected(issuer, audience, nonce)))
    except Err as error:
        kind = type(error.value).__name__.removeprefix("JwtError_")
        raise _ERRORS.get(kind, Failed)(error.value.value) from None
