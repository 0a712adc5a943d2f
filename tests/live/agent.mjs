// The agent of agent.py under Node, with the openai package from npm: the same turns, the same transcript, on stdout.
//
// usage: node agent.mjs URL

import OpenAI from "openai";

const TURNS = 12;
const ATTEMPTS = 20;

function tool(name, argument, ...values) {
  const properties = { [argument]: { type: "string", enum: values } };
  const parameters = { type: "object", properties, required: [argument], additionalProperties: false };
  return { type: "function", function: { name, strict: true, parameters } };
}

const TOOLS = [tool("get_weather", "city", "Paris", "Rome"), tool("go", "direction", "north", "south", "east")];

function result(turn, args) {
  const [value] = Object.values(args);
  return `Turn ${turn}: ${value}, ${10 + turn * value.length} degrees.`;
}

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Travel, and tell me of the weather." }];
const answers = [];

async function asked(stream, more) {
  const made = await client.chat.completions.create({ model: "tiny", messages, tools: TOOLS, stream, ...more });
  if (!stream) {
    answers.push(made);
    return message(made.choices[0].message);
  }
  const chunks = [];
  for await (const chunk of made) chunks.push(chunk);
  answers.push(chunks);
  return message(joined(chunks));
}

function message({ content, tool_calls }) {
  const calls = (tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
    id,
    type: "function",
    function: { name, arguments: args },
  }));
  return { role: "assistant", content, ...(calls.length ? { tool_calls: calls } : {}) };
}

function joined(chunks) {
  let content = "";
  const calls = [];
  for (const { delta } of chunks.flatMap((chunk) => chunk.choices)) {
    content += delta.content ?? "";
    for (const part of delta.tool_calls ?? []) {
      const call = (calls[part.index] ??= { id: part.id, function: { name: "", arguments: "" } });
      call.function.name += part.function.name ?? "";
      call.function.arguments += part.function.arguments ?? "";
    }
  }
  return { content, tool_calls: calls };
}

// A message with a whole call: a model of random numbers now and then fills it with blanks.
async function called(turn) {
  const tool_choice = { type: "function", function: { name: TOOLS[turn % 2].function.name } };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const said = await asked(turn % 3 !== 2, { tool_choice, max_tokens: 256 });
    try {
      return [said, JSON.parse(said.tool_calls[0].function.arguments)];
    } catch {
      continue;
    }
  }
  throw new Error(`no whole call in ${ATTEMPTS} answers`);
}

for (let turn = 0; turn < TURNS; turn++) {
  const [said, args] = await called(turn);
  messages.push(said, { role: "tool", tool_call_id: said.tool_calls[0].id, content: result(turn, args) });
}
messages.push(await asked(true, { tool_choice: "none", max_tokens: 48 }));
console.log(JSON.stringify({ messages, answers }));
