import files from "witgate:host/files";
import { Failed, unwrap } from "./errors.js";
import { encode } from "./utf8.js";

export function append(name, data) {
  const bytes = typeof data === "string" ? encode(data) : data;
  unwrap(() => files.append(name, bytes), (reason) => new Failed(String(reason)));
}
