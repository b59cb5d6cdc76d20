// The exports of a router.
import "./runtime.js";
import { guarded, single } from "./plugin.js";

const number = (value) => (value === null || value === undefined ? null : Number(value));
const known = (value) => value ?? null;

const candidateOf = (one) => ({
  ...one,
  weight: known(one.weight),
  order: number(one.order),
  region: known(one.region),
  inFlightMax: known(one.inFlightMax),
  requests: Number(one.requests),
  requestsMax: number(one.requestsMax),
  tokens: Number(one.tokens),
  tokensMax: number(one.tokensMax),
  promptTokensMax: number(one.promptTokensMax),
  latency: known(one.latency),
  firstToken: known(one.firstToken),
});

function idOf(picked) {
  if (picked === null || picked === undefined) return undefined;
  if (typeof picked?.then === "function") return picked;
  const id = typeof picked === "string" ? picked : picked.id;
  if (typeof id !== "string") throw new TypeError("pick must return a candidate, its id or null");
  return id;
}

export function make(exported) {
  const plugin = single("router", "router", exported);
  return {
    init: guarded(() => void plugin()),
    pick: guarded((candidates, request) =>
      idOf(
        plugin().pick(candidates.map(candidateOf), {
          ...request,
          promptTokens: number(request.promptTokens),
          metadata: JSON.parse(request.metadata),
        }),
      ),
    ),
  };
}
