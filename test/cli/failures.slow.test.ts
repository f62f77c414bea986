import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Client } from '../../cli/client.js';
import { ERRORS, type ErrorCode } from '../../protocol/errors.js';
import { within } from '../../scripts/lib/until.js';
import { FakeCoordinator, instanceView } from './fake-coordinator.js';
import { runCli, startCli } from './run-cli.js';

t.test('no server: exit code 5 and what to do, as text and as a problem document', async (t) => {
  const fake = await FakeCoordinator.start();
  const { url } = fake;
  await fake.stop();
  for (const words of [['get'], ['ps'], ['top'], ['logs', 'a-b-1'], ['events', '-f'], ['scale', 'a/b', '1']]) {
    const { code, out, err } = await runCli([...words, '--server', url]);
    t.match({ code, out }, { code: 5, out: '' }, words.join(' '));
    t.match(err, /cannot reach the coordinator at .*ECONNREFUSED.*`shoal up`.*SHOAL_E_UNREACHABLE/);
  }
  const json = await runCli(['--json', 'get', '--server', url]);
  t.match(JSON.parse(json.err), { code: 'SHOAL_E_UNREACHABLE', status: 503, title: 'Cannot reach the other side' });
  t.match(await runCli(['version', '--server', url]), { code: 0, out: /not reached/ });
});

t.test("the server's problems keep their code, text and exit code", async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  const codes: ErrorCode[] = ['SHOAL_E_NOT_FOUND', 'SHOAL_E_CONFLICT', 'SHOAL_E_UNAUTHORIZED', 'SHOAL_E_STORE'];
  for (const code of codes) {
    fake.problem('GET /v1/apps', code, 'because\u001b[31m of this');
    const { exitCode } = ERRORS[code];
    t.match(await runCli(['get', '--server', fake.url]), { code: exitCode, err: `shoal: because of this (${code})\n` });
    const json = await runCli(['get', '--json', '--server', fake.url]);
    t.match(JSON.parse(json.err), { code, detail: 'because\u001b[31m of this', title: ERRORS[code].title });
    t.notOk(json.err.includes('\u001b'));
  }
});

t.test('a server that is none of ours gives an error, not a crash', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.on('GET /v1/apps', (_, response) => response.writeHead(404).end('<html>nginx</html>'));
  t.match(await runCli(['get', '--server', fake.url]), { code: 3, err: /is this address a Shoal coordinator\?/ });
  fake.on('GET /v1/apps', (_, response) => response.end('<html>'));
  t.match(await runCli(['get', '--server', fake.url]), { code: 1, err: /not JSON/ });
  fake.json('GET /v1/apps', { apps: [] });
  t.match(await runCli(['get', '--server', fake.url]), { code: 1, err: /did not answer with a list/ });
  fake.on('GET /v1/apps', (_, response) => response.destroy());
  t.match(await runCli(['get', '--server', fake.url]), { code: 5 });
});

t.test('an answer that never ends has a deadline, also when garbage is collected meanwhile', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.on('GET /v1/apps', (_, response) => response.writeHead(200).write('['));
  fake.on('GET /v1/hosts', () => undefined);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const collecting = setInterval(collect, 20);
  t.teardown(() => clearInterval(collecting));
  const client = new Client({ server: fake.url });
  const signal = new AbortController().signal;
  for (const path of ['/v1/apps', '/v1/hosts']) {
    const asked = within('a deadline', 20_000, client.json('GET', path, { timeoutMs: 300, signal }));
    await t.rejects(asked, { code: 'SHOAL_E_UNREACHABLE', message: /no whole answer within 0.3 s/ }, path);
  }
});

t.test('the token is sent, from option or environment, and a bad token file is refused', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.json('GET /v1/apps', []);
  const folder = t.testdir({ token: 's3cret\n', empty: '', two: 'a b' });
  await runCli(['get', '--server', fake.url, '--token-file', join(folder, 'token')]);
  t.equal(fake.seen.at(-1)?.headers.authorization, 'Bearer s3cret');
  await runCli(['get'], { env: { SHOAL_SERVER: fake.url, SHOAL_TOKEN_FILE: join(folder, 'token') } });
  t.equal(fake.seen.at(-1)?.headers.authorization, 'Bearer s3cret');
  const before = fake.seen.length;
  for (const file of ['empty', 'two', 'none']) {
    t.match(await runCli(['get', '--server', fake.url, '--token-file', join(folder, file)]), { code: 2 }, file);
  }
  t.equal(fake.seen.length, before);
});

t.test('names are escaped in paths', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  await runCli(['describe', 'instance', '../apps?x#y', '--server', fake.url]);
  t.strictSame(fake.requests(), ['GET /v1/instances/..%2Fapps%3Fx%23y']);
});

t.test('wrong usage is exit code 2', async (t) => {
  for (const words of [
    [],
    ['frobnicate'],
    ['get', 'pods'],
    ['get', '--frob'],
    ['describe', 'app'],
    ['scale', 'search/web'],
    ['scale', 'search', '3'],
    ['scale', 'a/b/c', '3'],
    ['get', 'apps', 'a', 'b'],
    ['completion', 'tcsh'],
    ['help', 'nothing'],
    ['get', '--server', 'ftp://example.org'],
    ['get', '--server', 'nonsense'],
    ['up', '--listen', '127.0.0.1:0'],
    ['up', '--listen', 'nonsense'],
  ]) {
    const { code, out, err } = await runCli(words);
    t.match({ code, out }, { code: 2, out: '' }, words.join(' '));
    t.match(err, 'SHOAL_E_USAGE', words.join(' '));
  }
  const json = await runCli(['aply', '--json']);
  t.match(JSON.parse(json.err), { code: 'SHOAL_E_USAGE', detail: /Did you mean apply/ });
});

t.test('interrupted before it was done: exit code by the signal', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  const asked = new Promise<void>((resolve) => {
    fake.on('GET /v1/apps', () => resolve());
  });
  const cli = startCli(['get', '--server', fake.url]);
  await asked;
  cli.child.kill('SIGINT');
  t.match(await cli.ended, { code: 130, out: '', err: '' });

  fake
    .on('DELETE /v1/apps/search', (_, response) => response.writeHead(204).end())
    .json('GET /v1/instances', [instanceView()]);
  const waiting = startCli(['delete', 'search', '--wait', '--server', fake.url]);
  while (fake.requests().at(-1) !== 'GET /v1/instances?app=search') await new Promise(setImmediate);
  waiting.child.kill('SIGTERM');
  t.match(await waiting.ended, { code: 143, out: '', err: '' });
});

t.test('a reader that has seen enough ends the command quietly', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.on('GET /v1/instances/a-b-1/logs', (_, response) => {
    const more = (): void => {
      if (!response.destroyed) response.write('line\n'.repeat(10_000), () => setImmediate(more));
    };
    more();
  });
  const cli = startCli(['logs', 'a-b-1', '-f', '--server', fake.url]);
  await cli.printed('line');
  cli.child.stdout?.destroy();
  t.match(await cli.ended, { code: 0, err: '' });
});
