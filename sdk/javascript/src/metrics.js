import metrics from "witgate:host/metrics";

const pairs = (labels) => Object.entries(labels).map(([name, value]) => [name, String(value)]);

export const add = (name, amount = 1, labels = {}) => metrics.add(name, pairs(labels), amount);
export const observe = (name, value, labels = {}) => metrics.observe(name, pairs(labels), value);
