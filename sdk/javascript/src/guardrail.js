import { define } from "./plugin.js";

export const guardrail = (definition) => define("guardrail", definition);

export const allow = () => ({ tag: "allow" });
export const edit = (edits, findings = {}) => ({ tag: "edit", edits, findings });
export const block = (message, { status = 400, detail = null, findings = {} } = {}) => ({
  tag: "block",
  message,
  status,
  detail,
  findings,
});
export const couldNotJudge = (reason) => ({ tag: "could-not-judge", reason });

export const setValue = (pointer, value) => ({ tag: "value", val: [pointer, JSON.stringify(value)] });
export const remove = (pointer) => ({ tag: "remove", val: pointer });
