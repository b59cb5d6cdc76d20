// The exports of a log sink.
import "./runtime.js";
import { Response } from "./http.js";
import { delivered, fromResponse } from "./log-sink.js";
import { guarded, single } from "./plugin.js";

/** One finished request; its JSON is parsed when it is looked at. */
class Event {
  #payload;
  #context;

  constructor({ id, kind, payload, context }) {
    this.id = id;
    this.kind = kind;
    this.payloadText = payload;
    this.contextText = context;
  }

  get payload() {
    this.#payload ??= JSON.parse(this.payloadText);
    return this.#payload;
  }

  get context() {
    this.#context ??= JSON.parse(this.contextText);
    return this.#context;
  }
}

function wireOutcome(outcome) {
  if (outcome === undefined || outcome === null) return delivered();
  if (outcome instanceof Response) return fromResponse(outcome);
  if (typeof outcome.then === "function" || typeof outcome.tag === "string") return outcome;
  throw new TypeError("deliver must return delivered(), retry(…), rejected(…), partial(…) or a response");
}

export function make(exported) {
  const plugin = single("log-sink", "logSink", exported);
  return {
    init: guarded(() => void plugin()),
    deliver: guarded((batch) => wireOutcome(plugin().deliver(batch.map((event) => new Event(event))))),
    healthCheck: guarded(() => void plugin().healthCheck?.()),
  };
}
