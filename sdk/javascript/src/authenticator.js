import { define } from "./plugin.js";

export const authenticator = (definition) => define("authenticator", definition);

export const identity = (facts = {}) => ({ tag: "identity", facts });
export const useKey = (key) => ({ tag: "key", val: key });
export const decline = () => ({ tag: "decline" });
export const deny = (message, { status = 401, kind = null, param = null } = {}) => ({
  tag: "deny",
  val: { status, message, kind, param },
});
