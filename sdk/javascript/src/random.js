import random from "witgate:host/random";

export const bytes = (count) => Uint8Array.from(random.bytes(count));
export const uuid = () => random.uuid();
