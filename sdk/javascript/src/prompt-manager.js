import { define } from "./plugin.js";

export const promptManager = (definition) => define("prompt-manager", definition);
