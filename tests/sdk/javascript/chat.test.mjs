// Chat completions with the JavaScript SDK: text, many at once, tools.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: "Hello!" }];
const weather = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

test("a chat completion", async () => {
  const answer = await client.chat.completions.create({ model: "gpt-4o", messages });
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.model, "gpt-4o");
  assert.equal(answer.choices[0].message.content, "The answer is 42.");
  assert.equal(answer.usage.total_tokens, 18);
});

test("many at once, each with its own answer", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      client.chat.completions.create({ model: "echo", messages: [{ role: "user", content: `call ${n}` }] }),
    ),
  );
  assert.deepEqual(
    answers.map((answer) => answer.choices[0].message.content),
    Array.from({ length: 20 }, (_, n) => `call ${n}`),
  );
});

test("unicode both ways", async () => {
  const text = 'Grüße 😀 \u2028 "quoted" \\ \n\t';
  const answer = await client.chat.completions.create({ model: "echo", messages: [{ role: "user", content: text }] });
  assert.equal(answer.choices[0].message.content, text);
});

test("a tool round trip", async () => {
  const asked = await client.chat.completions.create({ model: "gpt-4o", messages, tools: [weather] });
  const call = asked.choices[0].message.tool_calls[0];
  assert.equal(asked.choices[0].finish_reason, "tool_calls");
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });

  const told = await client.chat.completions.create({
    model: "gpt-4o",
    tools: [weather],
    messages: [...messages, asked.choices[0].message, { role: "tool", tool_call_id: call.id, content: "sunny" }],
  });
  assert.equal(told.choices[0].message.content, "The answer is 42.");
});

test("the SDK's own tool runner", async () => {
  let asked = 0;
  const runner = client.chat.completions.runTools({
    model: "gpt-4o",
    messages,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          parse: JSON.parse,
          parameters: { type: "object", properties: { city: { type: "string" } } },
          function: ({ city }) => {
            asked += 1;
            return `sunny in ${city}`;
          },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "The answer is 42.");
  assert.equal(asked, 1);
});
