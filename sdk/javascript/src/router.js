import { define } from "./plugin.js";

export const router = (definition) => define("router", definition);
