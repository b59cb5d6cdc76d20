import { define } from "./plugin.js";

export const keyPolicy = (definition) => define("key-policy", definition);

export const allowKey = () => ({ tag: "allow" });
export const editKey = (body) => ({ tag: "edit", body });
export const denyKey = (message) => ({ tag: "deny", val: message });
