import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { WorkWatch } from '../../scripts/lib/soak/work-watch.js';

const line = (text: string) => `2026-01-01T00:00:00.000Z stdout ${text}\n`;

/** Logs of instances on two hosts, and who reads them. */
function rig(t: Test) {
  const folder = t.testdir();
  const runs = ['h0', 'h1'].map((host) => join(folder, host));
  const say = async (host: number, instance: string, text: string) => {
    const folder = join(runs[host] as string, 'instances', instance);
    await mkdir(folder, { recursive: true });
    await appendFile(join(folder, 'log'), text);
  };
  return { watch: new WorkWatch(() => runs), say };
}

t.test('calls are counted over instances and hosts, by lines that come in parts', async (t) => {
  const { watch, say } = rig(t);
  await watch.look();
  await say(0, 'search-index-1', line('answers count 0,1 ["a","w1"]').slice(0, -6));
  await watch.look();
  t.equal(watch.answered, 0);
  await say(0, 'search-index-1', line('answers count 0,1 ["a","w1"]').slice(-6));
  await say(1, 'search-index-2', line('answers count 2,3 ["a","w1"]'));
  await say(1, 'search-tokenizer-1', line('answers words - "a w1"'));
  await say(1, 'search-one-1', line('answers words - "a w1"'));
  await watch.look();
  t.equal(watch.answered, 2, 'a search of all state shards, by two owners, and the words of it');
});

t.test('a call that is answered twice, here or elsewhere, is found', async (t) => {
  for (const [host, instance, text, why] of [
    [
      0,
      'search-tokenizer-1',
      'answers words - "a w1"',
      /words "a w1" .* by search-tokenizer-1 and again by search-tokenizer-1/,
    ],
    [
      1,
      'search-tokenizer-2',
      'answers words - "a w1"',
      /words "a w1" .* by search-tokenizer-1 and again by search-tokenizer-2/,
    ],
    [
      1,
      'search-index-2',
      'answers count 7,1 ["a","w1"]',
      /state shard 1\) was answered by search-index-1 and again by search-index-2/,
    ],
  ] as const) {
    const { watch, say } = rig(t);
    await say(0, 'search-tokenizer-1', line('answers words - "a w1"'));
    await say(0, 'search-index-1', line('answers count 0,1,2 ["a","w1"]'));
    await say(0, 'search-index-1', line('answers count 0,1,2 ["a","w2"]'));
    await watch.look();
    await say(host, instance, line(text));
    await t.rejects(watch.look(), { message: why });
  }
});
