import mail from "witgate:host/mail";
import { DeniedByHost, Failed, Unavailable, unwrap } from "./errors.js";
import * as secrets from "./secrets.js";

/** The server's no for good. */
export class Refused extends Failed {
  constructor({ code, text }) {
    super(refusal({ code, text }));
    this.code = code;
  }
}

const refusal = ({ code, text }) => `the mail server refused: ${code} ${text}`;

export function send({ host, port = 587, encryption = "starttls", user, password }, { from, to, subject, text, html }, { timeoutMs = null } = {}) {
  const login = password === undefined ? null : [user, secrets.require(password)];
  const message = { sender: from, recipients: to, subject, text: text ?? null, html: html ?? null };
  unwrap(() => mail.send({ host, port, encryption, login }, message, timeoutMs), exception);
}

function exception(error) {
  switch (error?.tag) {
    case "denied":
      return new DeniedByHost(error.val);
    case "timeout":
      return new Unavailable("the mail server did not answer in time");
    case "connection":
      return new Unavailable(error.val);
    case "refused":
      return error.val.code < 500 ? new Unavailable(refusal(error.val)) : new Refused(error.val);
    case "invalid":
      return new Failed(error.val);
    default:
      return error instanceof Error ? error : new Failed(String(error));
  }
}
