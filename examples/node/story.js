// A story, piece by piece, as the model tells it.
export async function* story(client, wish) {
  const stream = await client.chat.completions.create({
    model: "tiny",
    messages: [{ role: "user", content: wish }],
    max_tokens: 24,
    temperature: 0,
    stream: true,
  });
  for await (const chunk of stream) {
    const piece = chunk.choices[0]?.delta?.content;
    if (piece) yield piece;
  }
}
