import { connect } from 'shoal/sdk';

/**
 * Holds the words of every document in partitioned state, keyed by the document's path: each instance owns some of the
 * state shards, and a search asks every owner about the shards that it owns.
 */
const app = await connect();

app.handle('add', (words, { key = '' }) => {
  // One text with a space around each word, which a search scans faster than a list.
  app.state.set(key, ` ${(words as string[]).join(' ')} `);
});

app.handle('count', (words, { shards }) => {
  const wanted = (words as string[]).map((word) => ` ${word} `);
  let documents = 0;
  for (const shard of shards) {
    for (const [, text] of app.state.entries(shard)) {
      if (wanted.every((word) => (text as string).includes(word))) documents += 1;
    }
  }
  return documents;
});

app.handle('size', (_body, { shards }) => {
  let documents = 0;
  for (const shard of shards) for (const _ of app.state.entries(shard)) documents += 1;
  return documents;
});

await app.ready();
