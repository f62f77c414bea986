import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { findTexts, grepCount } from '../../scripts/lib/demo/corpus.js';
import { decisionToServing, quantile } from '../../scripts/lib/demo/recorder.js';
import { violations } from '../../scripts/lib/demo/report.js';
import { readDay, shareAt } from '../../scripts/lib/demo/trace.js';

t.test('a trace becomes the shares of its busiest whole day', (t) => {
  const hour = (day: number, h: number, value: number) => `${day * 86_400 + h * 3600},${value}`;
  const day = (n: number, top: number) => Array.from({ length: 24 }, (_, h) => hour(n, h, h === 12 ? top : 10));
  const cutOff = [hour(2, 0, 1e9)];
  const { shares } = readDay(['time,value', ...day(0, 50), ...day(1, 100), ...cutOff].join('\n'), 'x.csv');
  t.equal(shares.length, 24);
  t.equal(shares[12], 1);
  t.equal(shares[0], 0.1);
  t.throws(() => readDay('time,value\n1,2\nx,3', 'x.csv'), { message: /^x\.csv:3: expected TIME,VALUE/ });
  t.throws(() => readDay('time,value\n1,-2\n2,3', 'x.csv'), { message: /^x\.csv:2/ });
  t.throws(() => readDay('', 'x.csv'), { message: /two points/ });
  t.throws(() => readDay('1,0\n2,0', 'x.csv'), { message: /no demand/ });
  t.end();
});

t.test('between two points the share lies between theirs', (t) => {
  const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 50 });
  fc.assert(
    fc.property(shares, fc.double({ min: 0, max: 0.999, noNaN: true }), (list, moment) => {
      const value = shareAt({ shares: list }, moment);
      return value >= Math.min(...list) - 1e-9 && value <= Math.max(...list) + 1e-9;
    }),
  );
  t.end();
});

t.test('texts are found by name, and grep counts those with the word', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-corpus-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'a.md'), 'A whole Word here');
  await writeFile(join(folder, 'LICENSE'), 'words, not the one');
  await writeFile(join(folder, 'b.js'), 'word');
  const texts = await findTexts(folder);
  t.equal(texts.length, 2);
  t.equal(await grepCount(texts, 'word'), 1);
  t.equal(await grepCount(texts, 'absent'), 0);
});

t.test('figures of the report', (t) => {
  t.equal(quantile([3, 1, 2], 0.5), 2);
  t.equal(quantile([1], 0.99), 1);
  t.ok(Number.isNaN(quantile([], 0.5)));
  const event = (kind: string, instance: string, atMs: number) => ({
    id: atMs,
    atMs,
    app: 'a',
    component: 'c',
    instance,
    kind,
    message: '',
  });
  const events = [
    event('created', 'x', 100),
    event('created', 'y', 110),
    event('ready', 'x', 250),
    event('ready', 'x', 900),
  ];
  t.same(decisionToServing(events), [150], 'a restart is no start, and what never was ready does not count');
  const answer = (dueMs: number, latencyMs: number) => ({ dueMs, latencyMs, ok: true });
  t.same(violations([answer(0, 5), answer(10, 500), answer(1500, 5)], 100), { missed: 1, all: 2 });
  t.end();
});
