// Embeddings, text completions, models and raw headers with the JavaScript SDK.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AzureOpenAI } from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: "Hello!" }];

test("embeddings", async () => {
  const answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
  assert.equal(answer.data.length, 2);
  assert.deepEqual(Array.from(answer.data[0].embedding), [0.25, -0.5, 1]);
});

test("text completions", async () => {
  const answer = await client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "x" });
  assert.equal(answer.choices[0].text, "The answer is 42.");
});

test("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("gpt-4o"));
  assert.equal((await client.models.retrieve("gpt-4o")).id, "gpt-4o");
});

test("raw headers", async () => {
  const call = client.chat.completions.create({ model: "gpt-4o", messages }, { headers: { "x-litellm-call-id": "my-own-id" } });
  const { data, response } = await call.withResponse();
  assert.equal(response.headers.get("x-litellm-call-id"), "my-own-id");
  assert.ok(Number(response.headers.get("x-litellm-response-cost")) > 0);
  assert.equal(data.choices[0].message.content, "The answer is 42.");
});

test("the Azure client's paths", async () => {
  const azure = new AzureOpenAI({
    baseURL: `${process.env.GATEWAY_URL}/openai`,
    apiKey: process.env.OPENAI_API_KEY,
    apiVersion: "2024-06-01",
    maxRetries: 0,
  });
  const answer = await azure.chat.completions.create({ model: "gpt-4o", messages });
  assert.equal(answer.choices[0].message.content, "The answer is 42.");
});
