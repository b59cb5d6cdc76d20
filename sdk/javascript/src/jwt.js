import jwt from "witgate:host/jwt";
import { DeniedByHost, Failed, Unavailable, unwrap } from "./errors.js";

const ERRORS = { denied: DeniedByHost, unavailable: Unavailable };

export function verify(token, keysUrl, { issuer, audience = null, nonce = null }) {
  const wrap = (error) => new (ERRORS[error?.tag] ?? Failed)(String(error?.val ?? error));
  return JSON.parse(unwrap(() => jwt.verify(token, keysUrl, { issuer, audience, nonce }), wrap));
}
