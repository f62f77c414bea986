import { connect } from 'shoal/sdk';

/** Answers each question with itself, and says in its log that it did. */
const app = await connect();
app.handle('answer', (question) => {
  console.log(`answers ${String(question)}`);
  return question;
});
await app.ready();
