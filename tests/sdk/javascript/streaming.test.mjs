// Streams with the JavaScript SDK: text, usage, tools, leaving early, errors on the way.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: "Hello!" }];
const text = "The answer is 42.";

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("a stream", async () => {
  const chunks = await collect(await client.chat.completions.create({ model: "gpt-4o", messages, stream: true }));
  assert.equal(textOf(chunks), text);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.every((chunk) => !chunk.usage));
});

test("a stream with usage", async () => {
  const stream = await client.chat.completions.create({
    model: "gpt-4o",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await collect(stream);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.total_tokens, 18);
});

test("streamed tool calls", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object" } } }];
  const stream = await client.chat.completions.create({ model: "gpt-4o", messages, tools, stream: true });
  const calls = (await collect(stream)).flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
  assert.equal(calls[0].function.name, "get_weather");
  assert.deepEqual(JSON.parse(calls.map((call) => call.function.arguments ?? "").join("")), { city: "Paris" });
});

test("the SDK's own accumulator", async () => {
  const stream = client.chat.completions.stream({ model: "gpt-4o", messages });
  assert.equal(await stream.finalContent(), text);
});

test("leaving early does no harm", async () => {
  for (let n = 0; n < 5; n += 1) {
    const stream = await client.chat.completions.create({ model: "gpt-4o", messages, stream: true });
    for await (const _ of stream) break;
  }
  const answer = await client.chat.completions.create({ model: "gpt-4o", messages });
  assert.equal(answer.choices[0].message.content, text);
});

test("an error before the stream has its class", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "rate-limited", messages, stream: true }),
    OpenAI.RateLimitError,
  );
});

test("an error in the stream is raised", async () => {
  const stream = await client.chat.completions.create({ model: "error-mid-stream", messages, stream: true });
  await assert.rejects(collect(stream), /the model broke/);
});
