import secrets from "witgate:host/secrets";
import { DeniedByHost, SettingsError, unwrap } from "./errors.js";

const denied = (reason) => new DeniedByHost(String(reason));

export const get = (name) => unwrap(() => secrets.get(name) ?? null, denied);

export function require(name) {
  const secret = get(name);
  if (secret === null) throw new SettingsError(`the secret setting \`${name}\` has no value`);
  return secret;
}

export const reveal = (name) => unwrap(() => require(name).reveal(), (error) => (error instanceof Error ? error : denied(error)));
export const bearer = (name) => ({ tag: "bearer", val: require(name) });
export const basic = (user, name) => ({ tag: "basic", val: [user, require(name)] });
export const header = (headerName, name) => ({ tag: "header", val: [headerName, require(name)] });
export const identity = (certificate, key) => ({ certificate: require(certificate), key: require(key) });
