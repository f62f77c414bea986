import { connect } from 'shoal/sdk';

/**
 * Holds the words of every document in partitioned state, keyed by the document's path: each instance owns some of the
 * state shards, and a search asks every owner about the shards that it owns.
 */
const app = await connect();
const texts = app.state<string>('texts');
/** The same by state shard and path, ready to be searched: made of the state whenever a shard comes here. */
const documents = new Map<number, Map<string, string>>();
const NONE: ReadonlyMap<string, string> = new Map();

app.onShardArrive(async (shard) => {
  const here = new Map<string, string>();
  for await (const [path, text] of texts.scan(shard)) here.set(path, text);
  documents.set(shard, here);
});
app.onShardLeave((shard) => documents.delete(shard));

app.handle('add', async (words, { key = '', shard = -1 }) => {
  // One text with a space around each word, which a search scans faster than a list.
  const text = ` ${(words as string[]).join(' ')} `;
  await texts.set(key, text);
  documents.get(shard)?.set(key, text);
});

app.handle('count', (words, { shards }) => {
  const wanted = (words as string[]).map((word) => ` ${word} `);
  let count = 0;
  for (const shard of shards) {
    for (const text of (documents.get(shard) ?? NONE).values()) {
      if (wanted.every((word) => text.includes(word))) count += 1;
    }
  }
  return count;
});

app.handle('size', (_body, { shards }) =>
  shards.reduce((count, shard) => count + (documents.get(shard) ?? NONE).size, 0),
);

await app.ready();
