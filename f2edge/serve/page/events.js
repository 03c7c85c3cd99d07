/** Server-sent events of the body of a response: EventSource cannot send a picture. */

/**
 * Yields {event, data} for each event; data is parsed JSON.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
    text = blocks.pop(); // its end has not come yet
    yield* blocks.map(parse).filter((event) => event.data !== undefined);
  }
}

function parse(block) {
  const fields = block.split("\n").map((line) => /^(\w+): ?(.*)$/.exec(line)).filter(Boolean);
  const values = (name) => fields.filter((field) => field[1] === name).map((field) => field[2]);
  const data = values("data").join("\n");
  return { event: values("event").at(-1) ?? "message", data: data ? JSON.parse(data) : undefined };
}
