// What the exports of all kinds share: the one plugin of an instance, and exceptions as errors of the contract.
import { PluginError } from "./errors.js";
import * as log from "./log.js";
import * as settings from "./settings.js";

const KIND = Symbol.for("witgate.kind");

/** Marks a definition, an object with the functions of the kind or a function from settings to one. */
export const define = (kind, definition) => ({ [KIND]: kind, definition });

/** The plugin of a module's default export. Runs at build time: an error fails the build. */
export function single(kind, maker, exported) {
  if (exported?.[KIND] !== kind) {
    throw new Error(`the default export must be made by ${maker}(…): export default ${maker}({…})`);
  }
  const { definition } = exported;
  let plugin = null;
  return () => {
    plugin ??= typeof definition === "function" ? definition(settings.all()) : definition;
    return plugin;
  };
}

/** The function with its exceptions as errors of the contract. */
export function guarded(call) {
  return function (...given) {
    let result;
    try {
      result = call.apply(this, given);
    } catch (error) {
      if (error instanceof PluginError) throw { tag: error.tag, val: error.message };
      log.error(`${error}\n${error?.stack ?? ""}`);
      throw { tag: "failed", val: String(error) };
    }
    if (typeof result?.then === "function") {
      throw { tag: "failed", val: "a plugin's functions must not be async: the host's functions return their results at once" };
    }
    return result;
  };
}

/** Counts by kind as the contract's list. */
export const findings = (found) => Object.entries(found ?? {}).map(([kind, count]) => ({ kind, count }));
