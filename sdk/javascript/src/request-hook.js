import { define } from "./plugin.js";

export const requestHook = (definition) => define("request-hook", definition);

export const respond = (text) => ({ tag: "respond", text });
export const refuse = (message, { status = 400, kind = null, param = null, detail = null } = {}) => ({
  tag: "refuse",
  message,
  status,
  kind,
  param,
  detail,
});
export const replaceBody = (value) => ({ tag: "value", val: ["", JSON.stringify(value)] });
export const end = (chunks = []) => ({ tag: "end", chunks });
