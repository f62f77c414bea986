import { connect } from 'shoal/sdk';

// Counts in the component's cache for as long as it runs, together with all other instances.
const app = await connect();
const ticks = app.state<Uint8Array>('ticks', { raw: true });
await app.ready();
for (;;) {
  try {
    await ticks.update('raw', (count) => Buffer.from(String(Number(Buffer.from(count ?? []).toString()) + 1)));
  } catch (error) {
    // The cache or the agent is away; the test looks at what is counted.
    console.error(String(error));
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
}
