import kv from "witgate:host/kv";
import { Failed, unwrap } from "./errors.js";
import { encode } from "./utf8.js";

export function get(key, scope = "plugin") {
  const found = kv.get(scope, key) ?? null;
  return found === null ? null : Uint8Array.from(found);
}

export function set(key, value, { ttlMs = null, scope = "plugin" } = {}) {
  const bytes = typeof value === "string" ? encode(value) : value;
  unwrap(() => kv.set(scope, key, bytes, ttlMs), (reason) => new Failed(String(reason)));
}

export const del = (key, scope = "plugin") => kv.delete(scope, key);
