import { connect } from 'shoal/sdk';

/**
 * Holds the words of every document in partitioned state, keyed by the document's path: each instance owns some of the
 * state shards, and a search asks every owner about the shards that it owns.
 */
const app = await connect();
const texts = app.state<string>('texts');

app.handle('add', (words, { key = '' }) => {
  // One text with a space around each word, which a search scans faster than a list.
  return texts.set(key, ` ${(words as string[]).join(' ')} `);
});

app.handle('count', async (words, { shards }) => {
  const wanted = (words as string[]).map((word) => ` ${word} `);
  let documents = 0;
  for (const shard of shards) {
    for await (const [, text] of texts.scan(shard)) {
      if (wanted.every((word) => text.includes(word))) documents += 1;
    }
  }
  return documents;
});

app.handle('size', async (_body, { shards }) => {
  let documents = 0;
  for (const shard of shards) for await (const _ of texts.scan(shard)) documents += 1;
  return documents;
});

await app.ready();
