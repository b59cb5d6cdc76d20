import http from "witgate:host/http";
import { DeniedByHost, Failed, Unavailable, unwrap } from "./errors.js";
import { decode, encode } from "./utf8.js";

/** A response, read to its end. */
export class Response {
  #text;

  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = headers;
    this.body = body instanceof Uint8Array ? body : Uint8Array.from(body);
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  get isWorthARetry() {
    return this.status === 408 || this.status === 429 || this.status >= 500;
  }

  get text() {
    this.#text ??= decode(this.body);
    return this.#text;
  }

  json() {
    return JSON.parse(this.text);
  }

  header(name) {
    const wanted = name.toLowerCase();
    return this.headers.find(([given]) => given === wanted)?.[1] ?? null;
  }

  get retryAfterMs() {
    const value = (this.header("retry-after") ?? "").trim();
    return /^\d+$/.test(value) ? Number(value) * 1000 : null;
  }

  summary() {
    const short = this.text.slice(0, 300);
    return `status ${this.status}: ${short}${short.length < this.text.length ? "…" : ""}`;
  }
}

export function request(method, url, { headers = {}, json, body = "", auth = null, identity = null, timeoutMs = null } = {}) {
  const given = Array.isArray(headers) ? headers : Object.entries(headers);
  const pairs = given.map(([name, value]) => [name.toLowerCase(), String(value)]);
  if (json !== undefined) {
    body = JSON.stringify(json);
    if (!pairs.some(([name]) => name === "content-type")) pairs.push(["content-type", "application/json"]);
  }
  const wire = {
    method: method.toUpperCase(),
    url: String(url),
    headers: pairs,
    body: typeof body === "string" ? encode(body) : body,
    timeoutMs,
  };
  const send = () => (identity ? http.sendAsClient(wire, auth, identity) : http.send(wire, auth));
  return new Response(unwrap(send, exception));
}

export const get = (url, options) => request("GET", url, options);
export const post = (url, options) => request("POST", url, options);
export const put = (url, options) => request("PUT", url, options);
export const del = (url, options) => request("DELETE", url, options);

function exception(error) {
  switch (error?.tag) {
    case "denied":
      return new DeniedByHost(error.val);
    case "timeout":
      return new Unavailable("no answer in time");
    case "connection":
      return new Unavailable(error.val);
    case "too-large":
      return new Failed(`the response is larger than ${error.val} bytes`);
    case "invalid":
      return new Failed(error.val);
    default:
      return error instanceof Error ? error : new Failed(String(error));
  }
}
