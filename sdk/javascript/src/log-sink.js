import { define } from "./plugin.js";

export const logSink = (definition) => define("log-sink", definition);

export const delivered = () => ({ tag: "delivered" });
export const retry = (reason, afterMs = null) => ({ tag: "retry", val: { reason, afterMs } });
export const rejected = (reason) => ({ tag: "rejected", val: reason });
export const partial = ({ retry: again = [], rejected: refused = {}, afterMs = null } = {}) => ({
  tag: "partial",
  val: {
    retry: again,
    rejected: Object.entries(refused).map(([index, reason]) => ({ index: Number(index), reason })),
    retryAfterMs: afterMs,
  },
});

export function fromResponse(response) {
  if (response.ok) return delivered();
  return response.isWorthARetry ? retry(response.summary(), response.retryAfterMs) : rejected(response.summary());
}
