// What a Witgate plugin written in JavaScript or TypeScript imports. `index.d.ts` documents every item.
//
// A plugin is one default export: `guardrail(…)`, `requestHook(…)`, `logSink(…)`, `authenticator(…)`, `keyPolicy(…)`, `router(…)`, `promptManager(…)`, `sso(…)` or `secretManager(…)`. `witgate plugin build`
// bundles the file with what it imports and makes a component of it; the top level runs at build time.

export { authenticator, decline, deny, identity, useKey } from "./src/authenticator.js";
export { DeniedByHost, Failed, PluginError, SettingsError, Unavailable } from "./src/errors.js";
export { allow, block, couldNotJudge, edit, guardrail, remove, setValue } from "./src/guardrail.js";
export { allowKey, denyKey, editKey, keyPolicy } from "./src/key-policy.js";
export { delivered, fromResponse, logSink, partial, rejected, retry } from "./src/log-sink.js";
export { promptManager } from "./src/prompt-manager.js";
export { end, refuse, replaceBody, requestHook, respond } from "./src/request-hook.js";
export { router } from "./src/router.js";
export { secretManager } from "./src/secret-manager.js";
export { sso, turnAway } from "./src/sso.js";
export * as clock from "./src/clock.js";
export * as files from "./src/files.js";
export * as http from "./src/http.js";
export * as jwt from "./src/jwt.js";
export * as kv from "./src/kv.js";
export * as llm from "./src/llm.js";
export * as mail from "./src/mail.js";
export * as log from "./src/log.js";
export * as metrics from "./src/metrics.js";
export * as random from "./src/random.js";
export * as request from "./src/request.js";
export * as secrets from "./src/secrets.js";
export * as settings from "./src/settings.js";
