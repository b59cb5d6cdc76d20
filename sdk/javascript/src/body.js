// A body that a plugin may look at and edit.

/** A body under inspection. Reading is lazy. */
export class Body {
  #view;

  constructor(view) {
    this.#view = view;
  }

  raw() {
    return this.#view.raw();
  }

  json() {
    return JSON.parse(this.#view.raw());
  }

  field(pointer) {
    const found = this.#view.field(pointer) ?? null;
    return found === null ? null : JSON.parse(found);
  }

  texts() {
    return this.#view.texts().map(({ pointer, role, text }) => ({
      pointer,
      role: role ?? null,
      text,
      replaceBy: (other) => ({ tag: "text", val: [pointer, other] }),
    }));
  }

  get size() {
    return Number(this.#view.size());
  }
}
