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
}
export namespace files {
  /** Appends to a granted file; `stdout` is the gateway's standard output. */
  function append(name: string, data: string | Uint8Array): void;
}
