// Types of the plugin API.

/** Counts by kind of finding; never the found text. */
export type Findings = Record<string, number>;
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
/** Pairs of lower-case name and value, in order. */
export type Headers = [name: string, value: string][];
/** A plugin: an object with the functions of its kind, or a function from its settings to one (runs once per instance). */
export type Definition<P> = P | ((settings: any) => P);
export interface Plugin<Kind extends string> {
  readonly definition: unknown;
  readonly __kind?: Kind;
}

// --- Guardrails

export interface Call {
  id: string;
  phase: "pre_call" | "during_call" | "post_call" | "logging_only";
  callType: string;
  /** The model group that the client asked for. */
  model: string;
  principal: Principal;
  /** The caller's own parameters for this guardrail. */
  params: Record<string, any>;
}
export interface Principal {
  keyHash: string | null;
  keyAlias: string | null;
  userId: string | null;
  teamId: string | null;
  orgId: string | null;
  endUserId: string | null;
  role: string | null;
}
export interface Text {
  /** JSON pointer of the text in the body. */
  pointer: string;
  role: string | null;
  text: string;
  /** The edit that puts this text in its place. */
  replaceBy(text: string): Edit;
}
/** A body under inspection. Reading is lazy: a plugin pays for what it looks at. */
export interface Body {
  raw(): string;
  json(): any;
  /** The value at a JSON pointer, null when there is none. */
  field(pointer: string): any;
  texts(): Text[];
  readonly size: number;
}
export interface Edit {
  readonly tag: "text" | "value" | "remove";
}
export interface Verdict {
  readonly tag: "allow" | "edit" | "block" | "could-not-judge";
}
export interface StreamGuard {
  /** More text of a channel. Return what may go to the client now ("" holds everything) or `block(…)`. */
  push(channel: number, text: string): string | Verdict;
  /** The channel is complete: return what was held, or `block(…)`. */
  finish(channel: number): string | Verdict;
  findings?(): Findings;
}
export interface Guardrail {
  check(call: Call, body: Body): Verdict | void | null;
  /** A guard for piecewise inspection; without one the host holds the stream and calls `check`. */
  openStream?(call: Call): StreamGuard | void | null;
}
export function guardrail(definition: Definition<Guardrail>): Plugin<"guardrail">;
export function allow(): Verdict;
export function edit(edits: Edit[], findings?: Findings): Verdict;
export function block(message: string, more?: { status?: number; detail?: Json; findings?: Findings }): Verdict;
/** Leaves the decision to the operator's `fail: open | closed`. */
export function couldNotJudge(reason: string): Verdict;
export function setValue(pointer: string, value: Json): Edit;
export function remove(pointer: string): Edit;

// --- Request hooks

export interface HookCall {
  id: string;
  callType: string;
  /** The model group that is asked for. */
  model: string;
  /** Whether the client wants a stream. */
  streaming: boolean;
  principal: Principal;
}
/** An entry of `model_list`, without secrets. */
export interface Deployment {
  id: string;
  modelName: string;
  params: Record<string, any>;
  info: Record<string, any>;
}
export interface CallFailure {
  /** LiteLLM's class, such as `RateLimitError`. */
  kind: string;
  /** The status that the client would get. */
  status: number;
  message: string;
}
export interface Reply {
  status: number;
  deployment: Deployment | null;
}
export interface Refusal {
  readonly tag: "refuse";
}
export interface Answer {
  readonly tag: "respond";
}
export interface End {
  readonly tag: "end";
}
export interface StreamHook {
  /** Nothing keeps the chunk; a list goes in its place, an empty one drops it. */
  push(chunk: any): Json[] | End | Refusal | void | null;
  /** The upstream has said all: nothing, or more chunks. */
  finish?(): Json[] | Refusal | void | null;
}
/** Write the hooks that `plugin.toml` names under `hooks`; the host calls no other. */
export interface RequestHook {
  preCall?(call: HookCall, request: Body): Edit[] | Answer | Refusal | void | null;
  preRouting?(call: HookCall, request: Body): Edit[] | Refusal | void | null;
  filterDeployments?(call: HookCall, request: Body, deployments: Deployment[]): (Deployment | string)[] | Refusal | void | null;
  preCallDeployment?(call: HookCall, request: Body, deployment: Deployment): Edit[] | Refusal | void | null;
  postCallSuccess?(call: HookCall, request: Body, response: Body): Edit[] | Refusal | void | null;
  openStream?(call: HookCall, request: Body): StreamHook | void | null;
  postCallFailure?(call: HookCall, request: Body, failure: CallFailure): Refusal | void | null;
  responseHeaders?(call: HookCall, request: Body, reply: Reply, response: Body | null): Record<string, string> | void | null;
}
export function requestHook(definition: Definition<RequestHook>): Plugin<"request-hook">;
/** From `preCall`: answers with this text; no model is called. */
export function respond(text: string): Answer;
/** Ends the call with an error. */
export function refuse(message: string, more?: { status?: number; kind?: string; param?: string; detail?: Json }): Refusal;
/** The edit that puts a value in the place of the whole body. */
export function replaceBody(value: Json): Edit;
/** From a stream hook: these chunks, then the stream ends. */
export function end(chunks?: Json[]): End;

// --- Log sinks

export interface Event {
  /** Unique per call; deliveries of the same event repeat it. */
  id: string;
  kind: "success" | "failure";
  /** LiteLLM's standard logging payload. */
  readonly payload: any;
  /** `request`, `timing`, `trace`, `exception`, `dynamic`. */
  readonly context: any;
  payloadText: string;
  contextText: string;
}
export interface Outcome {
  readonly tag: "delivered" | "retry" | "rejected" | "partial";
}
export interface LogSink {
  deliver(batch: Event[]): Outcome | http.Response | void | null;
  /** Throws when the other side cannot be reached with these settings. */
  healthCheck?(): void;
}
export function logSink(definition: Definition<LogSink>): Plugin<"log-sink">;
export function delivered(): Outcome;
export function retry(reason: string, afterMs?: number | null): Outcome;
export function rejected(reason: string): Outcome;
/** Some events need another try (positions) or were refused (reason by position). */
export function partial(what: { retry?: number[]; rejected?: Record<number, string>; afterMs?: number | null }): Outcome;
/** The usual reading: 2xx is delivered, 408, 429 and 5xx are tried again, anything else is refused. */
export function fromResponse(response: http.Response): Outcome;

// --- Authenticators

export interface AuthRequest {
  /** The key as the client sent it, without `Bearer `; empty when there was none. */
  apiKey: string;
  method: string;
  path: string;
  query: string | null;
  headers: Headers;
  clientIp: string | null;
  header(name: string): string | null;
}
export interface Identity {
  apiKey?: string;
  keyAlias?: string;
  userId?: string;
  userEmail?: string;
  role?: string;
  teamId?: string;
  teamAlias?: string;
  orgId?: string;
  endUserId?: string;
  models?: string[];
  metadata?: Record<string, Json>;
  /** Further members of LiteLLM's `UserAPIKeyAuth`. */
  extra?: Record<string, Json>;
}
export interface Decision {
  readonly tag: "identity" | "key" | "decline" | "deny";
}
export interface Authenticator {
  /** Decides. An exception lets nobody in. */
  authenticate(request: AuthRequest): Decision;
}
export function authenticator(definition: Definition<Authenticator>): Plugin<"authenticator">;
export function identity(facts?: Identity): Decision;
/** Lets the gateway check this key in place of the one that was sent. */
export function useKey(key: string): Decision;
export function decline(): Decision;
export function deny(message: string, more?: { status?: number; kind?: string; param?: string }): Decision;

// --- Prompt managers

export interface PromptCall {
  id: string;
  /** The model the client asked for, without this plugin's prefix. */
  model: string;
  /** The client's messages; empty when it sent none. */
  messages: any[];
  /** The client's other parameters. */
  params: Record<string, any>;
  promptId: string;
  /** Values for the places of the template. */
  promptVariables: Record<string, any>;
  promptLabel: string | null;
  promptVersion: string | null;
  principal: Principal;
}
export interface Prompt {
  /** All messages, in place of the client's. */
  messages: any[];
  /** The model that answers, a name of the configuration; null leaves it. */
  model?: string | null;
  /** Parameters to set; they win over the client's. */
  params?: Record<string, Json>;
}
export interface PromptManager {
  /** Fetches the prompt and fills in its variables; null when there is no such prompt here. */
  getChatCompletionPrompt(call: PromptCall): Prompt | null;
}
export function promptManager(definition: Definition<PromptManager>): Plugin<"prompt-manager">;
// --- Key policies

export interface KeyRequest {
  action: "generate" | "update";
  caller: Principal;
  /** The body as the client sent it: LiteLLM's `GenerateKeyRequest`. */
  body: Record<string, Json>;
}
export interface KeyVerdict {
  readonly tag: "allow" | "edit" | "deny";
}
export interface KeyPolicy {
  /** Judges a request before anything is written. An exception refuses it. */
  judge(request: KeyRequest): KeyVerdict;
}
export function keyPolicy(definition: Definition<KeyPolicy>): Plugin<"key-policy">;
export function allowKey(): KeyVerdict;
/** Goes on with this body in place of the client's. */
export function editKey(body: Record<string, Json>): KeyVerdict;
/** Refuses with status 403. */
export function denyKey(message: string): KeyVerdict;

// --- Routers

/** A call that needs a deployment. */
export interface RouteRequest {
  id: string;
  /** LiteLLM's `call_type`: `acompletion`, … */
  callType: string;
  /** The model group that is tried. */
  model: string;
  streaming: boolean;
  /** Of the request and of its key. */
  tags: string[];
  /** Tokens of the prompt; null when they cannot be counted. */
  promptTokens: number | null;
  /** Tries of this call that have failed so far. */
  failedTries: number;
  principal: Principal;
  /** The request's `metadata`. */
  metadata: Record<string, Json>;
}
/** A deployment that can serve the call. Counts are of this minute; what is not known is null. */
export interface RouteCandidate {
  id: string;
  /** `litellm_params.model` */
  model: string;
  tags: string[];
  weight: number | null;
  order: number | null;
  region: string | null;
  /** Calls under way, and how many may be. */
  inFlight: number;
  inFlightMax: number | null;
  /** Calls begun, and its `rpm`. */
  requests: number;
  requestsMax: number | null;
  /** Tokens used, and its `tpm`. */
  tokens: number;
  tokensMax: number | null;
  promptTokensMax: number | null;
  /** Seconds per token, and to a stream's first. */
  latency: number | null;
  firstToken: number | null;
  /** US dollars of a prompt token and a completion token together. */
  cost: number;
}
export interface Router {
  /** One of the candidates or its id; null leaves this choice to `simple-shuffle`, and so does an exception. */
  pick(candidates: RouteCandidate[], request: RouteRequest): RouteCandidate | string | null;
}
export function router(definition: Definition<Router>): Plugin<"router">;

// --- Signing in

/** A login that begins; all four belong into the URL, `codeChallenge` as PKCE's of the method S256. */
export interface Login {
  redirectUri: string;
  state: string;
  nonce: string;
  codeChallenge: string;
}
export interface Callback {
  code: string;
  redirectUri: string;
  nonce: string;
  codeVerifier: string;
}
/** Who it is, as the identity provider says. */
export interface OpenID {
  id: string;
  email?: string | null;
  firstName?: string | null;
  lastName?: string | null;
  displayName?: string | null;
  picture?: string | null;
  provider?: string | null;
  teamIds?: string[];
  userRole?: string | null;
  extraFields?: Record<string, Json>;
}
/** What a signed-in user is to the gateway. */
export interface UserValues {
  userId: string;
  userEmail?: string | null;
  /** `proxy_admin`, `proxy_admin_viewer`, `internal_user` or `internal_user_viewer` */
  userRole?: string | null;
  models?: string[];
  /** US dollars. */
  maxBudget?: number | string | null;
  /** Such as `30d`. */
  budgetDuration?: string | null;
}
export interface SignInRequest {
  method: string;
  path: string;
  query: string | null;
  headers: Headers;
  clientIp: string | null;
  header(name: string): string | null;
}
export interface Refused {
  readonly tag: "deny";
}
/** The functions of the roles in `plugin.toml`. */
export interface Sso {
  /** Role `provider`: the URL, or the URL and the fixed `state` in it. */
  authorize?(login: Login): string | { url: string; state?: string | null };
  /** Role `provider`. */
  exchange?(callback: Callback): OpenID | Refused;
  /** Role `mapping`; `known` is the gateway's row of this user, by LiteLLM's names. */
  mapUser?(user: OpenID, known: any | null): UserValues | Refused;
  /** Role `sign-in`. */
  signIn?(request: SignInRequest): OpenID | Refused;
}
export function sso(definition: Definition<Sso>): Plugin<"sso">;
/** Refuses; the message is shown to the user. */
export function turnAway(message: string, more?: { status?: number }): Refused;

// --- Secret managers

export interface Reading {
  /** Null when there is no such secret. */
  value: string | null;
  /** Seconds the answer may be kept, also that there is none; the gateway's own time when left out. */
  keepS?: number | null;
}
export interface Secret {
  name: string;
  value: string;
  description: string | null;
  tags: Record<string, string>;
}
/** Overrides for one secret, by LiteLLM's names in `secret_manager_settings`; normally empty. */
export type SecretOptions = Record<string, Json>;
export interface SecretManager {
  /** The value, or null when there is no such secret. An exception means that nobody knows. */
  read(name: string, options: SecretOptions): string | Reading | null;
  /** Stores a secret, a new version when there is one of that name. */
  write?(secret: Secret, options: SecretOptions): void;
  /** Deletes a secret. That there is none is fine. */
  delete?(name: string, recoveryDays: number, options: SecretOptions): void;
  /** Replaces `current`. Without it: look, write, look again, delete the old name. */
  rotate?(current: string, secret: Secret, options: SecretOptions): void;
  /** Throws when the manager does not answer or does not take the credentials. */
  health?(): void;
}
export function secretManager(definition: Definition<SecretManager>): Plugin<"secret-manager">;

// --- Signing in

/** A login that begins; all four belong into the URL, `codeChallenge` as PKCE's of the method S256. */
export interface Login {
  redirectUri: string;
  state: string;
  nonce: string;
  codeChallenge: string;
}
export interface Callback {
  code: string;
  redirectUri: string;
  nonce: string;
  codeVerifier: string;
}
/** Who it is, as the identity provider says. */
export interface OpenID {
  id: string;
  email?: string | null;
  firstName?: string | null;
  lastName?: string | null;
  displayName?: string | null;
  picture?: string | null;
  provider?: string | null;
  teamIds?: string[];
  userRole?: string | null;
  extraFields?: Record<string, Json>;
}
/** What a signed-in user is to the gateway. */
export interface UserValues {
  userId: string;
  userEmail?: string | null;
  /** `proxy_admin`, `proxy_admin_viewer`, `internal_user` or `internal_user_viewer` */
  userRole?: string | null;
  models?: string[];
  /** US dollars. */
  maxBudget?: number | string | null;
  /** Such as `30d`. */
  budgetDuration?: string | null;
}
export interface SignInRequest {
  method: string;
  path: string;
  query: string | null;
  headers: Headers;
  clientIp: string | null;
  header(name: string): string | null;
}
export interface Refused {
  readonly tag: "deny";
}
/** The functions of the roles in `plugin.toml`. */
export interface Sso {
  /** Role `provider`: the URL, or the URL and the fixed `state` in it. */
  authorize?(login: Login): string | { url: string; state?: string | null };
  /** Role `provider`. */
  exchange?(callback: Callback): OpenID | Refused;
  /** Role `mapping`; `known` is the gateway's row of this user, by LiteLLM's names. */
  mapUser?(user: OpenID, known: any | null): UserValues | Refused;
  /** Role `sign-in`. */
  signIn?(request: SignInRequest): OpenID | Refused;
}
export function sso(definition: Definition<Sso>): Plugin<"sso">;
/** Refuses; the message is shown to the user. */
export function refuse(message: string, more?: { status?: number }): Refused;

// --- Secret managers

export interface Reading {
  /** Null when there is no such secret. */
  value: string | null;
  /** Seconds the answer may be kept, also that there is none; the gateway's own time when left out. */
  keepS?: number | null;
}
export interface Secret {
  name: string;
  value: string;
  description: string | null;
  tags: Record<string, string>;
}
/** Overrides for one secret, by LiteLLM's names in `secret_manager_settings`; normally empty. */
export type SecretOptions = Record<string, Json>;
export interface SecretManager {
  /** The value, or null when there is no such secret. An exception means that nobody knows. */
  read(name: string, options: SecretOptions): string | Reading | null;
  /** Stores a secret, a new version when there is one of that name. */
  write?(secret: Secret, options: SecretOptions): void;
  /** Deletes a secret. That there is none is fine. */
  delete?(name: string, recoveryDays: number, options: SecretOptions): void;
  /** Replaces `current`. Without it: look, write, look again, delete the old name. */
  rotate?(current: string, secret: Secret, options: SecretOptions): void;
  /** Throws when the manager does not answer or does not take the credentials. */
  health?(): void;
}
export function secretManager(definition: Definition<SecretManager>): Plugin<"secret-manager">;

// --- Errors

export class PluginError extends Error {
  readonly tag: string;
}
/** A setting is missing or wrong. */
export class SettingsError extends PluginError {
  constructor(message: string);
}
/** The host refused something; the text has the line of configuration that would allow it. */
export class DeniedByHost extends PluginError {
  constructor(message: string);
}
/** The other side is in trouble; a later try may work. */
export class Unavailable extends PluginError {
  constructor(message: string);
}
/** A later try with the same input would fail the same way. */
export class Failed extends PluginError {
  constructor(message: string);
}

// --- The host's services

export namespace http {
  interface Options {
    headers?: Record<string, string> | Headers;
    /** A value to send as JSON. */
    json?: unknown;
    body?: string | Uint8Array;
    /** From `secrets.bearer`, `basic` or `header`. */
    auth?: secrets.Auth | null;
    /** A client certificate (mutual TLS), from `secrets.identity`. */
    identity?: secrets.Identity | null;
    timeoutMs?: number | null;
  }
  class Response {
    readonly status: number;
    readonly headers: Headers;
    readonly body: Uint8Array;
    readonly ok: boolean;
    readonly isWorthARetry: boolean;
    readonly text: string;
    readonly retryAfterMs: number | null;
    json(): any;
    header(name: string): string | null;
    summary(): string;
  }
  /** Sends and waits for the whole response. Trouble throws `Unavailable`, a refusal `DeniedByHost`. */
  function request(method: string, url: string, options?: Options): Response;
  function get(url: string, options?: Options): Response;
  function post(url: string, options?: Options): Response;
  function put(url: string, options?: Options): Response;
  function del(url: string, options?: Options): Response;
}
export namespace secrets {
  interface Secret {
    reveal(): string;
  }
  interface Auth {
    readonly tag: "bearer" | "basic" | "header";
  }
  interface Identity {
    readonly certificate: Secret;
    readonly key: Secret;
  }
  function get(name: string): Secret | null;
  function require(name: string): Secret;
  /** The value itself; only when the manifest has `reveal = true` for it. */
  function reveal(name: string): string;
  function bearer(name: string): Auth;
  function basic(user: string, name: string): Auth;
  function header(headerName: string, name: string): Auth;
  /** The client certificate in these two secret settings, both PEM. */
  function identity(certificate: string, key: string): Identity;
}
export namespace settings {
  function get(name: string): string | null;
  function all(): any;
  function env(name: string): string | null;
}
export namespace log {
  type Write = (message: unknown, fields?: Record<string, unknown>) => void;
  const trace: Write;
  const debug: Write;
  const info: Write;
  const warn: Write;
  const error: Write;
}
export namespace metrics {
  function add(name: string, amount?: number, labels?: Record<string, unknown>): void;
  function observe(name: string, value: number, labels?: Record<string, unknown>): void;
}
/** JSON Web Tokens of others, checked by the host. */
export namespace jwt {
  /** The claims of a token whose signature, times, issuer and, when given, audience and nonce are right; else throws. */
  function verify(
    token: string,
    keysUrl: string,
    expected: { issuer: string; audience?: string | null; nonce?: string | null },
  ): Record<string, any>;
}
export namespace clock {
  function nowMs(): number;
  function monotonicNs(): number;
}
export namespace random {
  /** At most 64 KiB. */
  function bytes(count: number): Uint8Array;
  function uuid(): string;
}
/** Values that outlive an instance, for the plugin or for one request. */
export namespace kv {
  type Scope = "plugin" | "request";
  function get(key: string, scope?: Scope): Uint8Array | null;
  function set(key: string, value: string | Uint8Array, options?: { ttlMs?: number | null; scope?: Scope }): void;
  function del(key: string, scope?: Scope): boolean;
}
/** Models, called through the gateway with this plugin as the caller: what the manifest asks for (`llm`) and the operator grants. */
export namespace llm {
  interface Answer {
    /** OpenAI's chat completion. */
    readonly body: any;
    /** The text of the first choice; null when it has none (a tool call). */
    readonly text: string | null;
    /** US dollars as text; null when the price is not known. */
    readonly costUsd: string | null;
    /** Id under which the call is logged. */
    readonly callId: string;
  }
  /** A call that was made and failed. */
  class CallFailed extends Failed {
    readonly status: number;
    readonly kind: string;
  }
  /** Calls a model of the configuration with OpenAI's request and waits for the whole answer. */
  function chat(request: { model: string; messages: unknown[]; [param: string]: unknown }, options?: { timeoutMs?: number | null }): Answer;
  /** The same, OpenAI's chunks as they come. It ends with the call in which it was opened. */
  function stream(request: { model: string; messages: unknown[]; [param: string]: unknown }, options?: { timeoutMs?: number | null }): Iterable<any>;
  /** The text that a chunk adds to the first choice. */
  function textOf(chunk: any): string;
}
/** Mail, handed in by the host over SMTP at a server that the manifest names (`egress = ["smtp://{smtp_host}:{smtp_port}"]`). */
export namespace mail {
  interface Server {
    host: string;
    /** 587 unless given. */
    port?: number;
    /** `starttls` unless given: no mail unless the server agrees. */
    encryption?: "starttls" | "tls" | "none";
    user?: string;
    /** The secret setting that is the user's password. */
    password?: string;
  }
  /** One of `text` and `html` must be given. */
  interface Message {
    from: string;
    to: string[];
    subject: string;
    text?: string;
    html?: string;
  }
  /** The server's no for good. */
  class Refused extends Failed {
    readonly code: number;
  }
  /** Hands in a message and waits until the server has taken it. */
  function send(server: Server, message: Message, options?: { timeoutMs?: number | null }): void;
}
/** The client's request behind the call under way; guardrails and request hooks. */
export namespace request {
  function headers(): Headers;
  /** What is known of the caller, by LiteLLM's names. */
  function caller(): Record<string, Json>;
}
export namespace files {
  /** Appends to a granted file; `stdout` is the gateway's standard output. */
  function append(name: string, data: string | Uint8Array): void;
}
