import { connect } from 'shoal/sdk';

/** Stateless: the words of a text. A word is what grep -w takes for one in the C locale: letters, digits, underscores. */
const app = await connect();
app.handle('words', (text) => {
  const words = String(text)
    .toLowerCase()
    .match(/[a-z0-9_]+/g);
  return [...new Set(words ?? [])];
});
await app.ready();
