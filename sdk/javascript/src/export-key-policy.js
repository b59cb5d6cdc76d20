// The exports of a key policy.
import "./runtime.js";
import { guarded, single } from "./plugin.js";

function wireVerdict(verdict) {
  if (verdict?.tag === "edit") return { tag: "edit", val: JSON.stringify(verdict.body) };
  if (typeof verdict?.then === "function" || ["allow", "deny"].includes(verdict?.tag)) return verdict;
  throw new TypeError("judge must return allowKey(), editKey(…) or denyKey(…)");
}

export function make(exported) {
  const plugin = single("key-policy", "keyPolicy", exported);
  return {
    init: guarded(() => void plugin()),
    judge: guarded(({ action, caller, body }) => wireVerdict(plugin().judge({ action, caller, body: JSON.parse(body) }))),
  };
}
