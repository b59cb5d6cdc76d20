"""Mail, handed in by the host over SMTP. The manifest names the server (`egress = ["smtp://{smtp_host}:{smtp_port}"]`); the
password stays with the host.

    server = mail.Server("smtp.example.com", user="gateway", password="smtp_password")
    mail.send(server, "gateway@example.com", ["ops@example.com"], "A key has expired", text="…")
"""

from componentize_py_types import Err

from . import _host, secrets as _secrets
from .errors import DeniedByHost, Failed, Unavailable

_mail = _host.interface("mail")


class Refused(Failed):
    """The server's no for good; `code` is SMTP's."""

    def __init__(self, code, text):
        super().__init__(f"the mail server refused: {code} {text}")
        self.code = code


class Server:
    """Where mail is handed in: `encryption` is `starttls`, `tls` or `none`, `password` the name of a secret setting."""

    def __init__(self, host, port=587, *, encryption="starttls", user=None, password=None):
        self.host = host
        self.port = port
        self.encryption = encryption
        self.user = user
        self.password = password


def send(server, sender, recipients, subject, *, text=None, html=None, timeout_ms=None):
    """Hands in a message and waits until the server has taken it.

    A refusal by the host raises `DeniedByHost`, no connection or no answer `Unavailable`, also from a server that cannot take it now; the
    server's no for good raises `Refused`.
    """
    # Only where it is used: each kind of plugin has its own part of the host.
    encryption = getattr(_mail.Encryption, server.encryption.upper())
    login = None if server.password is None else (server.user, _secrets.require(server.password))
    to = _mail.Server(server.host, server.port, encryption, login)
    message = _mail.Message(sender, list(recipients), subject, text, html)
    try:
        _mail.send(to, message, timeout_ms)
    except Err as error:
        raise _exception(error.value) from None


def _exception(error):
    if isinstance(error, _mail.MailError_Denied):
        return DeniedByHost(error.value)
    if isinstance(error, _mail.MailError_Timeout):
        return Unavailable("the mail server did not answer in time")
    if isinstance(error, _mail.MailError_Connection):
        return Unavailable(error.value)
    if isinstance(error, _mail.MailError_Refused):
        code, text = error.value.code, error.value.text
        return Refused(code, text) if code >= 500 else Unavailable(f"the mail server refused: {code} {text}")
    return Failed(error.value)
