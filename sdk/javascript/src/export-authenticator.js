// The exports of an authenticator.
import "./runtime.js";
import { guarded, single } from "./plugin.js";

const FACTS = [
  "apiKey",
  "keyAlias",
  "userId",
  "userEmail",
  "role",
  "teamId",
  "teamAlias",
  "orgId",
  "endUserId",
];

function wireDecision(decision) {
  if (decision?.tag === "identity") {
    const { facts } = decision;
    const val = Object.fromEntries(FACTS.map((name) => [name, facts[name] ?? null]));
    val.models = facts.models ?? [];
    val.metadata = JSON.stringify(facts.metadata ?? {});
    val.extra = JSON.stringify(facts.extra ?? {});
    return { tag: "identity", val };
  }
  if (typeof decision?.then === "function" || ["key", "decline", "deny"].includes(decision?.tag)) return decision;
  throw new TypeError("authenticate must return identity(…), useKey(…), decline() or deny(…)");
}

export function make(exported) {
  const plugin = single("authenticator", "authenticator", exported);
  return {
    init: guarded(() => void plugin()),
    authenticate: guarded((request) => {
      const header = (name) => request.headers.find(([given]) => given === name.toLowerCase())?.[1] ?? null;
      return wireDecision(plugin().authenticate({ ...request, header }));
    }),
  };
}
