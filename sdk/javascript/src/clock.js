import clock from "witgate:host/clock";

export const nowMs = () => Number(clock.nowMs());
export const monotonicNs = () => Number(clock.monotonicNs());
