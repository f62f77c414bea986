import fc from 'fast-check';
import t from 'tap';
import { apiPath } from '../../cli/client.js';
import { linesOf } from '../../cli/lines.js';
import { readProblem } from '../../cli/problem-error.js';
import { renderFindings } from '../../cli/render/doctor.js';
import { PLAIN } from '../../cli/render/paint.js';
import { parseComponentName, parseScope, parseWhole } from '../../cli/session.js';
import { type ServerSentEvent, SseParser } from '../../cli/sse.js';
import { runCli } from './run-cli.js';

async function* chunksOf(text: string, cuts: readonly number[]): AsyncGenerator<string> {
  let at = 0;
  for (const cut of [...cuts, text.length].map((each) => Math.min(each, text.length)).sort((a, b) => a - b)) {
    yield text.slice(at, cut);
    at = cut;
  }
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

const cuts = fc.array(fc.nat(200));

t.test('server-sent events are the same wherever the stream is cut', async (t) => {
  const text =
    ': hi\n\nid: 1\ndata: a\ndata:  b\n\nevent: other\r\ndata\r\n\r\ndata: no id changes\n\nid: 2\n\nretry: 5\ndata: c\n\ndata: cut';
  const expected: ServerSentEvent[] = [
    { id: '1', type: 'message', data: 'a\n b' },
    { id: '1', type: 'other', data: '' },
    { id: '1', type: 'message', data: 'no id changes' },
    { id: '2', type: 'message', data: 'c' },
  ];
  await fc.assert(
    fc.asyncProperty(cuts, async (at) => {
      const parser = new SseParser();
      const events: ServerSentEvent[] = [];
      for await (const chunk of chunksOf(text, at)) events.push(...parser.push(chunk));
      t.strictSame(events, expected);
      t.equal(parser.lastId, '2');
    }),
  );
  t.throws(() => new SseParser().push('x'.repeat(2 ** 21)), RangeError, 'a line without end is refused');
});

t.test('lines are the same wherever the stream is cut, and bounded', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string()), cuts, async (words, at) => {
      const text = words.join('\n');
      const lines = await all(linesOf(chunksOf(text, at)));
      t.equal(lines.join('\n'), text.replace(/\n$/, ''));
    }),
  );
  const long = await all(linesOf(chunksOf('x'.repeat(200_000), [])));
  t.ok(long.length > 1);
  t.equal(long.join('').length, 200_000);
});

t.test('names and numbers', async (t) => {
  t.strictSame(parseComponentName('a/b'), { app: 'a', component: 'b' });
  t.strictSame(
    [parseScope(undefined), parseScope('a'), parseScope('a/b')],
    [{}, { app: 'a' }, { app: 'a', component: 'b' }],
  );
  for (const bad of ['a', '/b', 'a/', 'a/b/c', '']) t.throws(() => parseComponentName(bad), { code: 'SHOAL_E_USAGE' });
  t.equal(parseWhole('7', 'it', 1, 9), 7);
  for (const bad of ['', ' 7', '0', '10', '1e1', '+3', '0x3', '٣']) {
    t.throws(() => parseWhole(bad, 'it', 1, 9), { code: 'SHOAL_E_USAGE', message: /it must be a whole number/ }, bad);
  }
  t.equal(apiPath('apps', 'a b/c'), '/v1/apps/a%20b%2Fc');
});

t.test('whatever a server answers becomes a problem', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 300, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, body) => {
      const problem = readProblem(status, body, 'GET /v1/apps');
      return problem.status === status && typeof problem.code === 'string' && typeof problem.detail === 'string';
    }),
  );
  const errors = [{ path: '$.a', message: 'm', line: 2, column: 3 }, { path: 1 }, null];
  const body = JSON.stringify({ code: 'SHOAL_E_MANIFEST', detail: 'd', errors });
  t.strictSame(readProblem(400, body, '').errors, [errors[0]]);
});

t.test('doctor: each requirement with its remedy, exit code 6 only for what is required', async (t) => {
  const base = { id: 'x', what: 'cgroup v2', met: true, required: true, found: 'yes', remedy: 'boot with it' };
  t.strictSame(
    renderFindings([base, { ...base, met: false }, { ...base, met: false, required: false }], PLAIN).map((line) =>
      line.trim(),
    ),
    [
      'met       cgroup v2: yes',
      'MISSING   cgroup v2: yes',
      'remedy: boot with it',
      'degraded  cgroup v2: yes',
      'remedy: boot with it',
      '',
      '1 met, 1 missing, 1 degraded',
    ],
  );
});

t.test('doctor looks at this host', async (t) => {
  const { code, out, err } = await runCli(['doctor', '--json']);
  const findings: { met: boolean; required: boolean }[] = JSON.parse(out);
  t.ok(findings.length > 0);
  const missing = findings.some((finding) => finding.required && !finding.met);
  t.equal(code, missing ? 6 : 0);
  if (missing) t.match(JSON.parse(err), { code: 'SHOAL_E_HOST' });
});
