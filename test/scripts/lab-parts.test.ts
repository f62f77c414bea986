import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { LinePrefixer } from '../../scripts/lib/lab/prefixer.js';
import { macOf, Switch } from '../../scripts/lib/lab/switch.js';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** A frame as QEMU sends it. */
function frame(to: string, text: string): Buffer {
  const bytes = Buffer.concat([Buffer.from(to.replaceAll(':', ''), 'hex'), Buffer.from(text)]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

class Port {
  received = Buffer.alloc(0);

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
  }

  async receives(frames: Buffer[]): Promise<boolean> {
    const wanted = Buffer.concat(frames);
    while (this.received.length < wanted.length) await once(this.socket, 'data');
    return this.received.equals(wanted);
  }
}

t.test('the switch sends a frame to its machine, a broadcast to all others, in order', async (t) => {
  // Not t.testdir(): the path of a Unix socket must be short.
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lab-test-'));
  const network = new Switch();
  const ports = new Map<number, Port>();
  for (const number of [1, 2, 3]) {
    await network.open(number, join(folder, String(number)));
    const socket = connect(join(folder, String(number)));
    await once(socket, 'connect');
    ports.set(number, new Port(socket));
  }
  t.teardown(async () => {
    for (const port of ports.values()) port.socket.destroy();
    network.close();
    await rm(folder, { recursive: true });
  });
  const [first, second, third] = [1, 2, 3].map((number) => ports.get(number) as Port) as [Port, Port, Port];

  // All ports are plugged in once each has been heard.
  third.socket.write(frame(macOf(2), 'from 3'));
  second.socket.write(frame(macOf(3), 'from 2'));
  t.ok(await second.receives([frame(macOf(2), 'from 3')]));
  t.ok(await third.receives([frame(macOf(3), 'from 2')]));

  const bytes = Buffer.concat([
    frame(macOf(2), 'one'),
    frame(BROADCAST, 'all'),
    frame(macOf(3), ''),
    frame(macOf(9), 'x'),
  ]);
  for (const byte of bytes) {
    first.socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(await second.receives([frame(macOf(2), 'from 3'), frame(macOf(2), 'one'), frame(BROADCAST, 'all')]));
  t.ok(await third.receives([frame(macOf(3), 'from 2'), frame(BROADCAST, 'all'), frame(macOf(3), '')]));
  t.equal(first.received.length, 0, 'nothing comes back');
});

t.test('lines of several machines are written whole, each after its name', async (t) => {
  let text = '';
  const target = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const one = new LinePrefixer('h1 | ', target);
  const two = new LinePrefixer('h2 | ', target);
  one.write('a');
  two.write('x\ny');
  one.write('b\n\n');
  two.end();
  one.end();
  t.equal(text, 'h2 | x\nh1 | ab\nh1 | \nh2 | y\n');
});

t.test('a wrong command line is refused with exit code 2 before anything boots', async (t) => {
  const wrong = [
    [],
    ['run'],
    ['walk', '--', 'true'],
    ['run', '--hosts', '5', '--', 'true'],
    ['run', '--wheels', '--', 'true'],
  ];
  for (const words of wrong) {
    const { code, stderr } = await lab(words);
    t.equal(code, 2, words.join(' '));
    t.match(stderr, /usage: scripts\/lab|--hosts: 1 to 4|--wheels/);
  }
  t.match(await lab(['--help']), { code: 0, stdout: /^usage: scripts\/lab run / });
});

function lab(words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = new URL('../../scripts/lab.js', import.meta.url).pathname;
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...words], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
