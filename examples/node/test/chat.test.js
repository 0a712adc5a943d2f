// The SDK finds the recording in OPENAI_BASE_URL: nothing here knows of it.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

import { ask } from "../agent.js";
import { story } from "../story.js";

const client = new OpenAI();

async function told(wish) {
  const pieces = [];
  for await (const piece of story(client, wish)) pieces.push(piece);
  return pieces;
}

test("a story comes in pieces", async () => {
  assert.ok((await told("Tell me a story.")).length > 10);
});

test("another wish is another story", async () => {
  assert.notDeepEqual(await told("Tell me of the sea."), await told("Tell me of the stars."));
});

test("the agent asks its tool, and hands the result to the model", async () => {
  const cities = [];
  const transcript = await ask(client, "Shall I take an umbrella?", async (city) => {
    cities.push(city);
    return `It rains in ${city}.`;
  });
  assert.deepEqual(transcript.map((message) => message.role), ["user", "assistant", "tool", "assistant"]);
  assert.equal(transcript[2].tool_call_id, transcript[1].tool_calls[0].id);
  assert.ok(["Paris", "Rome"].includes(cities[0]));
  assert.ok(transcript[3].content);
});
