// An agent with one tool. It looks at the weather first, then does what the model wants until the model wants nothing
// more; it gives back all that was said.

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city.",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string", enum: ["Paris", "Rome"] } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

const NAMED = { type: "function", function: { name: "get_weather" } };

export async function ask(client, question, weather, turns = 4) {
  const messages = [{ role: "user", content: question }];
  for (let turn = 0; turn < turns; turn++) {
    const answer = await client.chat.completions.create({
      model: "tiny",
      messages,
      tools: [WEATHER],
      tool_choice: turn === 0 ? NAMED : "auto",
      max_tokens: 256,
    });
    const said = answer.choices[0].message;
    messages.push(said);
    if (!said.tool_calls?.length) return messages;
    for (const call of said.tool_calls) {
      const { city } = JSON.parse(call.function.arguments);
      messages.push({ role: "tool", tool_call_id: call.id, content: await weather(city) });
    }
  }
  throw new Error(`no answer within ${turns} turns`);
}
