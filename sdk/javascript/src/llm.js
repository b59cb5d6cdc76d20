import llm from "witgate:host/llm";
import { DeniedByHost, Failed, Unavailable, unwrap } from "./errors.js";

/** A call that was made and failed. */
export class CallFailed extends Failed {
  constructor({ status, kind, message }) {
    super(`status ${status}: ${message}`);
    this.status = status;
    this.kind = kind;
  }
}

export function chat(request, { timeoutMs = null } = {}) {
  const answer = unwrap(() => llm.chat(JSON.stringify(request), timeoutMs), exception);
  const body = JSON.parse(answer.body);
  const text = body.choices?.[0]?.message?.content ?? null;
  return { body, text, costUsd: answer.costUsd ?? null, callId: answer.callId };
}

export function stream(request, { timeoutMs = null } = {}) {
  return chunks(unwrap(() => llm.stream(JSON.stringify(request), timeoutMs), exception));
}

function* chunks(opened) {
  for (;;) {
    const chunk = unwrap(() => opened.next() ?? null, exception);
    if (chunk === null) return;
    yield JSON.parse(chunk);
  }
}

export const textOf = (chunk) => chunk.choices?.[0]?.delta?.content ?? "";

function exception(error) {
  switch (error?.tag) {
    case "denied":
      return new DeniedByHost(error.val);
    case "timeout":
      return new Unavailable("the model gave no answer in time");
    case "unavailable":
      return new Unavailable(error.val);
    case "failed":
      return new CallFailed(error.val);
    case "invalid":
      return new Failed(error.val);
    default:
      return error instanceof Error ? error : new Failed(String(error));
  }
}
