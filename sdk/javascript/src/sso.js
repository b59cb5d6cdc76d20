import { define } from "./plugin.js";

export const sso = (definition) => define("sso", definition);

export const refuse = (message, { status = 403 } = {}) => ({ tag: "deny", val: { status, message } });
