// The exports of a plugin that signs in.
import "./runtime.js";
import { Failed } from "./errors.js";
import { guarded, single } from "./plugin.js";

const FACTS = ["id", "email", "firstName", "lastName", "displayName", "picture", "provider", "userRole"];

function wireWho(told, name) {
  if (told?.tag === "deny" || typeof told?.then === "function") return told;
  if (typeof told?.id !== "string") throw new TypeError(`${name} must return a user with an id, or refuse(…)`);
  const val = Object.fromEntries(FACTS.map((fact) => [fact, told[fact] ?? null]));
  val.teamIds = told.teamIds ?? [];
  val.extraFields = JSON.stringify(told.extraFields ?? {});
  return { tag: "user", val };
}

function wireMapped(told) {
  if (told?.tag === "deny" || typeof told?.then === "function") return told;
  if (typeof told?.userId !== "string") throw new TypeError("mapUser must return values with a userId, or refuse(…)");
  const { userId, userEmail = null, userRole = null, models = [], maxBudget = null, budgetDuration = null } = told;
  const budget = maxBudget === null ? null : String(maxBudget);
  return { tag: "values", val: { userId, userEmail, userRole, models, maxBudget: budget, budgetDuration } };
}

export function make(exported) {
  const plugin = single("sso", "sso", exported);
  const call = (role, name, ...given) => {
    if (typeof plugin()[name] !== "function") throw new Failed(`the plugin does not have the role \`${role}\``);
    return plugin()[name](...given);
  };
  return {
    init: guarded(() => void plugin()),
    authorize: guarded((login) => {
      const told = call("provider", "authorize", login);
      if (typeof told?.then === "function") return told;
      return typeof told === "string" ? { url: told, state: null } : { url: told.url, state: told.state ?? null };
    }),
    exchange: guarded((callback) => wireWho(call("provider", "exchange", callback), "exchange")),
    mapUser: guarded((user, known) => {
      const given = { ...user, extraFields: JSON.parse(user.extraFields) };
      return wireMapped(call("mapping", "mapUser", given, known == null ? null : JSON.parse(known)));
    }),
    signIn: guarded((request) => {
      const header = (name) => request.headers.find(([given]) => given === name.toLowerCase())?.[1] ?? null;
      return wireWho(call("sign-in", "signIn", { ...request, header }), "signIn");
    }),
  };
}
