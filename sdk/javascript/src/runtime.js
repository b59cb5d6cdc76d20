// What scripts expect of their surroundings, from the host: the build froze the engine's own clock and generator.
import clock from "witgate:host/clock";
import random from "witgate:host/random";
import { debug, error, info, warn } from "./log.js";
import { decode, encode } from "./utf8.js";

const now = () => Number(clock.nowMs());
const RealDate = Date;

globalThis.Date = class Date extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }

  static now() {
    return now();
  }
};

Math.random = () => {
  const bytes = random.bytes(7);
  // 53 bits: what a number between 0 and 1 can hold.
  return bytes.reduce((sum, byte, index) => sum + (index === 6 ? byte & 31 : byte) * 256 ** index, 0) / 2 ** 53;
};

const printer = (write) => (...values) =>
  write(values.map((value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)))).join(" "));
globalThis.console = {
  log: printer(info),
  info: printer(info),
  debug: printer(debug),
  warn: printer(warn),
  error: printer(error),
};

globalThis.TextEncoder ??= class TextEncoder {
  encode(text = "") {
    return encode(String(text));
  }
};
globalThis.TextDecoder ??= class TextDecoder {
  decode(bytes = new Uint8Array()) {
    return decode(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes));
  }
};
