// Each failure is the error class that the SDK's users catch.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: "Hello!" }];

const classes = [
  ["bad-request", OpenAI.BadRequestError, 400],
  ["bad-key", OpenAI.AuthenticationError, 401],
  ["forbidden", OpenAI.PermissionDeniedError, 403],
  ["not-found", OpenAI.NotFoundError, 404],
  ["rate-limited", OpenAI.RateLimitError, 429],
  ["broken", OpenAI.InternalServerError, 500],
];

for (const [model, kind, status] of classes) {
  test(`the class of ${model}`, async () => {
    await assert.rejects(client.chat.completions.create({ model, messages }), (error) => {
      assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.status, status);
      assert.ok(error.error.message && error.error.code);
      return true;
    });
  });
}

test("a wrong key", async () => {
  const stranger = new OpenAI({ apiKey: "sk-wrong", maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create({ model: "gpt-4o", messages }), OpenAI.AuthenticationError);
});

test("the client's own timeout", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "slow", messages }, { timeout: 500 }),
    OpenAI.APIConnectionTimeoutError,
  );
});

test("an aborted call", async () => {
  const controller = new AbortController();
  const call = client.chat.completions.create({ model: "slow", messages }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  await assert.rejects(call, OpenAI.APIUserAbortError);
});
