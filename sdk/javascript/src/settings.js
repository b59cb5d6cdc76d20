import settings from "witgate:host/settings";
import { DeniedByHost, unwrap } from "./errors.js";

export const get = (name) => settings.get(name) ?? null;
export const all = () => JSON.parse(settings.all());
export const env = (name) => unwrap(() => settings.env(name) ?? null, (reason) => new DeniedByHost(String(reason)));
