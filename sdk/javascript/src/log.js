import log from "witgate:host/log";

const text = (value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)));
const writer = (level) => (message, fields = {}) =>
  log.write(level, text(message), Object.entries(fields).map(([name, value]) => [name, text(value)]));

export const trace = writer("trace");
export const debug = writer("debug");
export const info = writer("info");
export const warn = writer("warn");
export const error = writer("error");
