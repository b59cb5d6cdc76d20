// The exports of a request hook.
import "./runtime.js";
import { Body } from "./body.js";
import { guarded, single } from "./plugin.js";

const deployment = ({ id, modelName, params, info }) => ({
  id,
  modelName,
  params: JSON.parse(params),
  info: JSON.parse(info),
});

const wireError = ({ message, status, kind, param, detail }) => ({
  status,
  message,
  kind,
  param,
  detail: detail === null ? null : JSON.stringify(detail),
});

/** Edits, or what stands in their place. A promise goes on: what made it is refused. */
function decision(result, hook) {
  if (typeof result?.then === "function") return result;
  if (result?.tag === "refuse") return { tag: "refuse", val: wireError(result) };
  if (result === null || result === undefined) return { tag: "proceed", val: [] };
  if (Array.isArray(result)) return { tag: "proceed", val: result };
  throw new TypeError(`${hook} must return nothing, a list of edits or refuse(…)`);
}

function piece(result) {
  if (typeof result?.then === "function") return result;
  if (result === null || result === undefined) return { tag: "keep" };
  if (result.tag === "refuse") return { tag: "fail", val: wireError(result) };
  if (result.tag === "end") return { tag: "end", val: result.chunks.map((chunk) => JSON.stringify(chunk)) };
  if (Array.isArray(result)) return { tag: "replace", val: result.map((chunk) => JSON.stringify(chunk)) };
  throw new TypeError("a stream hook must return nothing, a list of chunks, end(…) or refuse(…)");
}

export function make(exported) {
  const plugin = single("request-hook", "requestHook", exported);

  class StreamHook {
    #stream;

    constructor(stream) {
      this.#stream = stream;
    }

    push = guarded((chunk) => piece(this.#stream.push(JSON.parse(chunk))));
    finish = guarded(() => piece(this.#stream.finish?.()));
  }

  return {
    init: guarded(() => void plugin()),
    preCall: guarded((call, request) => {
      const result = plugin().preCall?.(call, new Body(request));
      return result?.tag === "respond" ? { tag: "respond", val: String(result.text) } : decision(result, "preCall");
    }),
    preRouting: guarded((call, request) => decision(plugin().preRouting?.(call, new Body(request)), "preRouting")),
    filterDeployments: guarded((call, request, deployments) => {
      const offered = deployments.map(deployment);
      const result = plugin().filterDeployments?.(call, new Body(request), offered) ?? offered;
      if (typeof result.then === "function") return result;
      if (result.tag === "refuse") return { tag: "refuse", val: wireError(result) };
      return { tag: "keep", val: result.map((one) => (typeof one === "string" ? one : one.id)) };
    }),
    preCallDeployment: guarded((call, request, chosen) =>
      decision(plugin().preCallDeployment?.(call, new Body(request), deployment(chosen)), "preCallDeployment"),
    ),
    postCallSuccess: guarded((call, request, response) =>
      decision(plugin().postCallSuccess?.(call, new Body(request), new Body(response)), "postCallSuccess"),
    ),
    openStream: guarded((call, request) => {
      const stream = plugin().openStream?.(call, new Body(request)) ?? null;
      return stream === null ? null : new StreamHook(stream);
    }),
    postCallFailure: guarded((call, request, failure) => {
      const told = { kind: failure.class, status: failure.status, message: failure.message };
      const result = plugin().postCallFailure?.(call, new Body(request), told) ?? null;
      if (result === null || typeof result.then === "function") return result;
      if (result.tag === "refuse") return wireError(result);
      throw new TypeError("postCallFailure must return nothing or refuse(…)");
    }),
    responseHeaders: guarded((call, request, reply, response) => {
      const chosen = reply.deployment ?? null;
      const told = { status: reply.status, deployment: chosen === null ? null : deployment(chosen) };
      const body = response ?? null;
      const result = plugin().responseHeaders?.(call, new Body(request), told, body === null ? null : new Body(body));
      if (typeof result?.then === "function") return result;
      return Object.entries(result ?? {}).map(([name, value]) => [name, String(value)]);
    }),
    StreamHook,
  };
}
