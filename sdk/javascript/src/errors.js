// The exceptions by which a plugin says that it could not do its work. Any other one counts as `Failed`, and its
// stack goes to the plugin's log.

/** Base of the four below; `tag` is the case of the contract's `plugin-error`. */
export class PluginError extends Error {
  constructor(tag, message) {
    super(message);
    this.name = new.target.name;
    this.tag = tag;
  }
}

export class SettingsError extends PluginError {
  constructor(message) {
    super("invalid-settings", message);
  }
}

export class DeniedByHost extends PluginError {
  constructor(message) {
    super("denied", message);
  }
}

export class Unavailable extends PluginError {
  constructor(message) {
    super("unavailable", message);
  }
}

export class Failed extends PluginError {
  constructor(message) {
    super("failed", message);
  }
}

/**
 * What a host function gave; its error, as `wrap` reads it, is thrown. The bindings throw the error's payload,
 * in some versions inside an object with `payload`.
 */
export function unwrap(call, wrap) {
  try {
    return call();
  } catch (error) {
    throw wrap(error?.payload ?? error);
  }
}
