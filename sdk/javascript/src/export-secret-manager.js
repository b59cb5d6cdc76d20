// The exports of a secret manager.
import "./runtime.js";
import { Failed } from "./errors.js";
import { guarded, single } from "./plugin.js";

function wireReading(answer) {
  if (typeof answer?.then === "function") return answer;
  if (answer === null || answer === undefined) return { value: null, keepS: null };
  if (typeof answer === "string") return { value: answer, keepS: null };
  if (typeof answer === "object" && "value" in answer) return { value: answer.value ?? null, keepS: answer.keepS ?? null };
  throw new TypeError("read must return a text, {value, keepS} or null");
}

const own = ({ tags, ...secret }) => ({ ...secret, tags: Object.fromEntries(tags) });

const onlyReads = (name) => {
  throw new Failed(
    `${JSON.stringify(name)} is left as it is: this secret manager only reads; set general_settings.key_management_settings.access_mode to read_only`,
  );
};

/** What a manager that does not say how does: look, write, look again, delete the old name. */
function rotate(manager, current, secret, options) {
  if (wireReading(manager.read(current, options)).value === null) {
    throw new Failed(`the manager has no secret ${JSON.stringify(current)}`);
  }
  if (!manager.write) onlyReads(secret.name);
  manager.write(secret, options);
  if (wireReading(manager.read(secret.name, options)).value !== secret.value) {
    throw new Failed(`${JSON.stringify(secret.name)} was written, and another value was read`);
  }
  if (current === secret.name) return;
  if (!manager.delete) onlyReads(current);
  manager.delete(current, 7, options);
}

export function make(exported) {
  const plugin = single("secret-manager", "secretManager", exported);
  return {
    init: guarded(() => void plugin()),
    read: guarded((name, options) => wireReading(plugin().read(name, JSON.parse(options)))),
    write: guarded((secret, options) => {
      const manager = plugin();
      if (!manager.write) onlyReads(secret.name);
      return manager.write(own(secret), JSON.parse(options));
    }),
    delete: guarded((name, recoveryDays, options) => {
      const manager = plugin();
      if (!manager.delete) onlyReads(name);
      return manager.delete(name, recoveryDays, JSON.parse(options));
    }),
    rotate: guarded((current, secret, options) => {
      const manager = plugin();
      if (manager.rotate) return manager.rotate(current, own(secret), JSON.parse(options));
      rotate(manager, current, own(secret), JSON.parse(options));
    }),
    health: guarded(() => plugin().health?.()),
  };
}
