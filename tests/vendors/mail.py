"""A mail server (aiosmtpd).

    mail.py starttls|tls|plain [CERTIFICATE KEY USER PASSWORD]

`starttls` and `plain` begin in the clear; `starttls` takes no mail before TLS, `plain` offers none. With a user, only
that one may hand mail in. Mail to `nobody@…` is refused. Prints a line of JSON with its port, then one for each login
and each mail; ends when standard input does.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

mode, *given = sys.argv[1:]
certificate, key, user, password = given + [None] * (4 - len(given))


def tell(what):
    print(json.dumps(what), flush=True)


class Inbox:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        tell({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": mail["subject"],
            "headers": sorted(name.lower() for name in mail.keys()),
            "sender": mail["from"], "encrypted": mode == "tls" or session.ssl is not None,
            "text": text and text.get_content(), "html": html and html.get_content(),
        })
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (user, password)
    tell({"login": right})
    # Not `handled`: the answer is left to the server.
    return AuthResult(success=right, handled=False)


async def main():
    context = None
    if mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    def session():
        return SMTP(
            Inbox(),
            hostname="mail.example.com",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=login,
            auth_required=user is not None,
            auth_require_tls=mode == "starttls",
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    tell({"port": server.sockets[0].getsockname()[1]})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
