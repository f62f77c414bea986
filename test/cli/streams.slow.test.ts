import type { ServerResponse } from 'node:http';
import t from 'tap';
import { PLAIN } from '../../cli/render/paint.js';
import { Screen } from '../../cli/screen.js';
import { componentView, eventView, FakeCoordinator, hostView, instanceView } from './fake-coordinator.js';
import { NO_STREAMS, startCli } from './run-cli.js';

const EVENT_STREAM = { 'content-type': 'text/event-stream' };
const ESCAPE = String.fromCharCode(27);

const sse = (id: number, more = {}): string => `id: ${id}\ndata: ${JSON.stringify(eventView(id, more))}\n\n`;

t.test('events -f comes back after a lost connection with the last id, and shows nothing twice', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  let connections = 0;
  let open: ServerResponse | null = null;
  fake.on('GET /v1/events', (request, response) => {
    if (request.headers.accept !== 'text/event-stream') {
      response.end(JSON.stringify([eventView(1), eventView(2)]));
      return;
    }
    connections += 1;
    if (connections === 2) {
      // A coordinator that is just starting again.
      response.writeHead(503, { 'content-type': 'application/json' }).end('{}');
      return;
    }
    response.writeHead(200, EVENT_STREAM);
    if (connections === 1) {
      response.write(`: hello\n\n${sse(2)}${sse(3)}`);
      response.write('data: not an event\n\n', () => response.destroy());
    } else {
      open = response;
      response.write(`${sse(3)}${sse(4, { app: 'other' })}${sse(5, { message: `${ESCAPE}[2Jfive` })}`);
    }
  });
  const cli = startCli(['events', '-f', '--app', 'search', '--server', fake.url]);
  await cli.printed('five');
  const streams = fake.seen.filter((each) => each.headers.accept === 'text/event-stream');
  t.strictSame(
    streams.map((each) => each.headers['last-event-id']),
    ['2', '3', '3'],
  );
  t.ok(open);
  cli.child.kill('SIGINT');
  const { code, out, err } = await cli.ended;
  t.equal(code, 0, 'an interrupt is the normal end');
  t.strictSame(out.match(/event number \d|five/g), ['event number 1', 'event number 2', 'event number 3', 'five']);
  t.notOk(out.includes(ESCAPE), 'control characters are gone');
  t.match(err, /trying again/);
});

t.test('events -f ends with the refusal when the server refuses', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.on('GET /v1/events', (request, response) => {
    if (request.headers.accept !== 'text/event-stream') response.end('[]');
    else
      response
        .writeHead(401, { 'content-type': 'application/problem+json' })
        .end('{"code":"SHOAL_E_UNAUTHORIZED","detail":"no token"}');
  });
  const { code, err } = await startCli(['events', '-f', '--server', fake.url]).ended;
  t.match({ code, err }, { code: 4, err: /no token/ });
});

t.test('events -f --json prints one document on each line', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake.on('GET /v1/events', (request, response) => {
    if (request.headers.accept !== 'text/event-stream') response.end(JSON.stringify([eventView(1)]));
    else response.writeHead(200, EVENT_STREAM).write(sse(2));
  });
  const cli = startCli(['events', '-f', '--json', '--server', fake.url]);
  await cli.printed('number 2"}\n');
  cli.child.kill('SIGTERM');
  const { code, out } = await cli.ended;
  t.equal(code, 0);
  t.strictSame(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).id),
    [1, 2],
  );
});

t.test('logs of one instance: tail, follow, lines cut anywhere, control characters gone', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake
    .on('GET /v1/instances/search-web-1/logs?tail=3', (_, response) => response.end('a\nb\nno line end'))
    .on('GET /v1/instances/search-web-1/logs?tail=0&follow=1', (_, response) => {
      response.write(`one ${ESCAPE}[3`);
      setImmediate(() => response.write('1mred\ntwo\n'));
    });
  const short = await startCli(['logs', 'search-web-1', '--tail', '3', '--server', fake.url]).ended;
  t.match(short, { code: 0, out: 'a\nb\nno line end\n' });
  const json = await startCli(['logs', 'search-web-1', '--tail', '3', '--json', '--server', fake.url]).ended;
  t.match(json.out.split('\n')[0], '{"instance":"search-web-1","line":"a"}');

  const cli = startCli(['logs', 'search-web-1', '-f', '--tail', '0', '--server', fake.url]);
  await cli.printed('two');
  cli.child.kill('SIGINT');
  t.match(await cli.ended, { code: 0, out: 'one red\ntwo\n' });

  t.match(await startCli(['logs', 'nope', '--server', fake.url]).ended, { code: 3 });
  t.match(await startCli(['logs', 'search-web-1', '--tail', 'x', '--server', fake.url]).ended, { code: 2 });
});

t.test('logs of a component: every instance with its name, new ones join', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  let lists = 0;
  const [first, second] = [instanceView(), instanceView({ id: 'search-web-12' })];
  fake
    .json('GET /v1/apps/search/components/web', componentView())
    .on('GET /v1/instances', (_, response) => {
      lists += 1;
      response.end(JSON.stringify(lists > 1 ? [first, second] : [first]));
    })
    .on('GET /v1/instances/search-web-1/logs', (request, response) => {
      response.write('from one\n');
      if (!request.url.includes('follow')) response.end();
    })
    .on('GET /v1/instances/search-web-12/logs', (_, response) => response.end('from twelve\n'));
  const cli = startCli(['logs', 'search/web', '-f', '--server', fake.url]);
  await cli.printed('search-web-12 | from twelve\n');
  t.match(cli.out(), 'search-web-1 | from one\n');
  cli.child.kill('SIGINT');
  t.equal((await cli.ended).code, 0);
  const all = await startCli(['logs', 'search/web', '--server', fake.url]).ended;
  t.match(all, { code: 0, out: 'search-web-1 | from one\nsearch-web-12 | from twelve\n' });
  t.match(await startCli(['logs', 'search/none', '--server', fake.url]).ended, { code: 3 });
});

t.test('top: one frame, plain frames again and again, JSON frames', async (t) => {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  fake
    .json('GET /v1/apps', [{ app: 'search', revision: 1, manifest: { app: 'search', components: {} }, components: [] }])
    .json('GET /v1/apps/search/components', [componentView()])
    .json('GET /v1/instances', [instanceView()])
    .json('GET /v1/hosts', [hostView()])
    .json('GET /v1/events?after=0', [eventView(1)])
    .json('GET /v1/events?after=1', [eventView(2)])
    .json('GET /v1/events?after=2', []);
  const once = await startCli(['top', '--once', '--server', fake.url]).ended;
  t.match(once, { code: 0, out: /rack1[\s\S]*search\/web[\s\S]*search-web-1[\s\S]*event number 1/ });
  const view = JSON.parse((await startCli(['top', 'search', '--once', '--json', '--server', fake.url]).ended).out);
  t.match(view, { hosts: [{ name: 'rack1' }], components: [{ component: 'web' }], events: [{ id: 1 }] });

  const cli = startCli(['top', '--server', fake.url]);
  await cli.printed('event number 2');
  cli.child.kill('SIGINT');
  const { code, out } = await cli.ended;
  t.equal(code, 0);
  t.notOk(out.includes(ESCAPE), 'plain lines without a terminal');
});

t.test('the live screen fits the terminal and gives it back', async (t) => {
  const written: string[] = [];
  const io = {
    out: (text: string) => void written.push(text),
    err: () => {},
    env: {},
    terminal: true,
    paint: PLAIN,
    size: () => ({ width: 10, height: 2 }),
    streams: NO_STREAMS,
  };
  const screen = new Screen(io);
  screen.draw(({ width }) => ['x'.repeat(width), 'b', 'beyond']);
  screen.close();
  screen.close();
  screen.draw(() => ['late']);
  const shown = written.join('').replaceAll(ESCAPE, '^');
  t.equal(shown, '^[?1049h^[?25l^[Hxxxxxxxxx^[K\r\nb^[K^[J^[?25h^[?1049l');
});
