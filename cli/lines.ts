/** A longer line is given out in parts, so that a text without line ends cannot fill the memory. UTF-16 units. */
const LINE_MAX = 64 * 1024;

/** Lines of a stream of text; the last one too when it has no line end. */
export async function* linesOf(chunks: AsyncIterable<string>, lineMax = LINE_MAX): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
    while (rest.length > lineMax) {
      yield rest.slice(0, lineMax);
      rest = rest.slice(lineMax);
    }
  }
  if (rest !== '') yield rest;
}
