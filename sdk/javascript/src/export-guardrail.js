// The exports of a guardrail.
import "./runtime.js";
import { Body } from "./body.js";
import { findings, guarded, single } from "./plugin.js";

const call = (given) => ({ ...given, phase: given.phase.replaceAll("-", "_"), params: JSON.parse(given.params) });

const wireBlock = ({ message, status, detail, findings: found }) => ({
  message,
  status,
  detail: detail === null ? null : JSON.stringify(detail),
  findings: findings(found),
});

function wireVerdict(verdict) {
  switch (verdict?.tag ?? "allow") {
    case "allow":
      return { tag: "allow" };
    case "edit":
      return { tag: "edit", val: { edits: verdict.edits, findings: findings(verdict.findings) } };
    case "block":
      return { tag: "block", val: wireBlock(verdict) };
    case "could-not-judge":
      return { tag: "could-not-judge", val: verdict.reason };
    default:
      throw new TypeError("check must return allow(), edit(…), block(…) or couldNotJudge(…)");
  }
}

function wireStreamVerdict(verdict) {
  if (typeof verdict === "string") return { tag: "release", val: verdict };
  if (verdict?.tag === "block") return { tag: "block", val: wireBlock(verdict) };
  throw new TypeError("a stream guard must return text or block(…)");
}

export function make(exported) {
  const plugin = single("guardrail", "guardrail", exported);

  class StreamGuard {
    #stream;

    constructor(stream) {
      this.#stream = stream;
    }

    push = guarded((channel, text) => wireStreamVerdict(this.#stream.push(channel, text)));
    finish = guarded((channel) => wireStreamVerdict(this.#stream.finish(channel)));
    findings = () => findings(this.#stream.findings?.());
  }

  return {
    init: guarded(() => void plugin()),
    check: guarded((given, view) => {
      const verdict = plugin().check(call(given), new Body(view));
      return typeof verdict?.then === "function" ? verdict : wireVerdict(verdict);
    }),
    openStream: guarded((given) => {
      const stream = plugin().openStream?.(call(given)) ?? null;
      return stream === null ? null : new StreamGuard(stream);
    }),
    StreamGuard,
  };
}
