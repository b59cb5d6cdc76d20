// A log sink in TypeScript: posts one JSON array per batch, with a short record of each call.
import { http, logSink, secrets, SettingsError, type Event } from "witgate";

interface Settings {
  url: string;
}

export default logSink((settings: Settings) => {
  if (!/^https?:\/\//.test(settings.url)) throw new SettingsError("`url` must begin with https:// or http://");
  const auth = () => (secrets.get("token") ? secrets.bearer("token") : null);
  return {
    deliver: (batch) => http.post(settings.url, { json: batch.map(record), auth: auth() }),
    healthCheck() {
      http.request("HEAD", settings.url, { auth: auth(), timeoutMs: 3000 });
    },
  };
});

function record({ id, kind, payload }: Event) {
  return {
    id,
    status: kind,
    model: payload.model_group ?? payload.model,
    tokens: payload.total_tokens,
    cost: payload.response_cost,
    seconds: Math.round((payload.endTime - payload.startTime) * 1000) / 1000,
    ...(kind === "failure" && { error: payload.error_str }),
  };
}
