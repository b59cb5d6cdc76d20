// The exports of a prompt manager.
import "./runtime.js";
import { guarded, single } from "./plugin.js";

function wireAnswer(prompt) {
  if (typeof prompt?.then === "function") return prompt;
  if (prompt === null || prompt === undefined) return { tag: "unknown" };
  if (!Array.isArray(prompt.messages)) {
    throw new TypeError("getChatCompletionPrompt must return {messages, model, params} or null");
  }
  const { model = null, messages, params = {} } = prompt;
  return { tag: "found", val: { model, messages: JSON.stringify(messages), params: JSON.stringify(params) } };
}

export function make(exported) {
  const plugin = single("prompt-manager", "promptManager", exported);
  return {
    init: guarded(() => void plugin()),
    getChatCompletionPrompt: guarded((call) =>
      wireAnswer(
        plugin().getChatCompletionPrompt({
          ...call,
          messages: JSON.parse(call.messages),
          params: JSON.parse(call.params),
          promptVariables: JSON.parse(call.promptVariables),
        }),
      ),
    ),
  };
}
