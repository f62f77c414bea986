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

t.test('calls are counted over processes that take each other’s place, by lines that come in parts', async (t) => {
  const { watch, say } = rig(t);
  await watch.look();
  await say(0, 'soak-many-1', line('answers a:1').slice(0, -6));
  await watch.look();
  await say(0, 'soak-many-1', line('answers a:1').slice(-6));
  await say(1, 'soak-ask-1', line('asked 10 answered 8 failed 2'));
  await watch.look();
  await say(1, 'soak-ask-1', line('asked 10 answered 3 failed 1'));
  await say(1, 'soak-ask-2', line('asked 20 answered 20 failed 0'));
  await say(1, 'soak-other-1', line('answers a:1'));
  await watch.look();
  t.equal(watch.answered, 31);
  t.equal(watch.failed, 3);
});

t.test('a question that is answered twice, here or elsewhere, and an answer to another one are found', async (t) => {
  for (const [host, instance, text, why] of [
    [0, 'soak-many-1', 'answers a:1', /a:1 was answered by soak-many-1 and again by soak-many-1/],
    [1, 'soak-many-2', 'answers a:1', /a:1 was answered by soak-many-1 and again by soak-many-2/],
    [1, 'soak-ask-1', 'wrong a:1 "a:2"', /soak-ask-1 got another answer than its own/],
  ] as const) {
    const { watch, say } = rig(t);
    await say(0, 'soak-many-1', line('answers a:1'));
    await watch.look();
    await say(host, instance, line(text));
    await t.rejects(watch.look(), { message: why });
  }
});
