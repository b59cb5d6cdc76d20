import { define } from "./plugin.js";

export const secretManager = (definition) => define("secret-manager", definition);
