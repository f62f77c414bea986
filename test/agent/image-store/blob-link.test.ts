import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { parseHostMessage } from '../../../agent/host-messages.js';
import { receiveBlob } from '../../../agent/image-store/blob-link.js';
import { BlobServer, givenAtOnce } from '../../../agent/image-store/blob-server.js';
import { ImageCounts } from '../../../agent/image-store/counts.js';
import { StoreDisk } from '../../../agent/image-store/disk.js';
import { fetchFromSeeds } from '../../../agent/image-store/fetch.js';
import { Fetched } from '../../../agent/image-store/fetched.js';
import { Seeds } from '../../../agent/image-store/seeds.js';
import { encodeFrame } from '../../../protocol/frame.js';

const MIB = 2 ** 20;
const log = pino({ level: 'silent' });

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

async function makeStore(t: Test, ...blobs: Buffer[]): Promise<StoreDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-blobs-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const disk = new StoreDisk(folder);
  await disk.open();
  for (const blob of blobs) await writeFile(disk.blob(digestOf(blob)), blob);
  return disk;
}

/** What answers who dials; after the first word, as the link between hosts hands connections over. */
async function answering(t: Test, answer: (socket: Socket) => void): Promise<() => Socket> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return () => connect(port, '127.0.0.1');
}

t.test('a blob comes whole; who has none says so, and only a digest is asked for', async (t) => {
  const blob = randomBytes(3 * MIB + 17);
  const [theirs, ours] = [await makeStore(t, blob), await makeStore(t)];
  const counts = new ImageCounts();
  const server = new BlobServer({ disk: theirs, bytesPerSecond: 64 * MIB, counts, log });
  for (const content of [blob, Buffer.alloc(0), Buffer.from('another')]) {
    const digest = digestOf(content);
    const dial = await answering(t, (socket) => server.give(socket, digest, 'h2'));
    const path = join(ours.folder, digest.slice(-8));
    const received = receiveBlob(dial, { digest, bytesMax: 4 * MIB, path });
    if (content === blob) {
      t.equal(await received, blob.length);
      t.ok((await readFile(path)).equals(blob));
    } else await t.rejects(received, { code: 'SHOAL_E_NOT_FOUND' });
  }
  t.same(counts.figures.given, { blobs: 1, bytes: blob.length });
  for (const digest of ['', '../../etc/shadow', `sha512:${'0'.repeat(64)}`, `sha256:${'A'.repeat(64)}`, 7]) {
    t.throws(() => parseHostMessage({ type: 'blob-wanted', digest }), { code: 'SHOAL_E_FRAME' }, String(digest));
  }
});

t.test('what lies, breaks off, sends too much or no frames leaves nothing and is asked for nothing more', async (t) => {
  const blob = randomBytes(MIB);
  const digest = digestOf(blob);
  const ends: Record<string, (socket: Socket) => void> = {
    'another blob': (socket) => socket.end(encodeFrame({ piece: randomBytes(MIB) })),
    'a part': (socket) => socket.end(encodeFrame({ piece: blob.subarray(0, 100) })),
    'a broken frame': (socket) => socket.write(encodeFrame({ piece: blob }).subarray(0, 1000), () => socket.destroy()),
    'too much': (socket) => {
      for (let i = 0; i < 3; i += 1) socket.write(encodeFrame({ piece: blob }));
    },
    'no pieces': (socket) => socket.end(encodeFrame({ type: 'goodbye', why: 'the first message was no hello' })),
    'no frames': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    nothing: (socket) => socket.destroy(),
    'no answer at all': () => assert.fail('nobody listens there'),
  };
  const nobody = createServer();
  await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
  const { port: closed } = nobody.address() as AddressInfo;
  await new Promise((resolve) => nobody.close(resolve));
  for (const [what, answer] of Object.entries(ends)) {
    const disk = await makeStore(t);
    const [bad, good] = [
      await answering(t, answer),
      await answering(t, (socket) => socket.end(encodeFrame({ piece: blob }))),
    ];
    const asked: string[] = [];
    const source = {
      hostsWith: async () => [],
      dial: ({ host }: { host: string }) => {
        asked.push(host);
        if (host === 'good') return good();
        return what === 'no answer at all' ? connect(closed, '127.0.0.1') : bad();
      },
    };
    const hosts = ['bad', 'good'].map((host) => ({ host, address: '' }));
    const counts = new ImageCounts();
    const from: string[] = [];
    const news = {
      came: (_digest: string, host: string) => void from.push(host),
      failed: () => counts.note('failed'),
    };
    const seeds = new Seeds(hosts, { source, disk, log, news, coming: new Map() });
    t.ok(await seeds.bring(digest, 2 * MIB), what);
    t.ok(await disk.hasBlob(digest));
    await disk.removeBlob(digest);
    t.ok(await seeds.bring(digest, 2 * MIB));
    t.same(asked, ['bad', 'good', 'good'], what);
    t.same(from, ['good', 'good'], what);
    t.equal(counts.figures.failed, 1, what);
    const alone = new Seeds(hosts.slice(0, 1), { source, disk: await makeStore(t), log, news, coming: new Map() });
    t.notOk(await alone.bring(digest, 2 * MIB), what);
  }
});

t.test('what is given is bounded in a second and at once; a damaged blob is found when it is given', async (t) => {
  const blob = randomBytes(2 * MIB);
  const digest = digestOf(blob);
  const theirs = await makeStore(t, blob);
  const counts = new ImageCounts();
  const bytesPerSecond = 4 * MIB;
  const server = new BlobServer({ disk: theirs, bytesPerSecond, counts, log });
  const dial = await answering(t, (socket) => server.give(socket, digest, 'h2'));
  const ours = await makeStore(t);
  const beganMs = performance.now();
  const all = await Promise.allSettled(
    ['a', 'b', 'c'].map((name) => receiveBlob(dial, { digest, bytesMax: 4 * MIB, path: join(ours.folder, name) })),
  );
  const seconds = (performance.now() - beganMs) / 1_000;
  t.equal(all.filter(({ status }) => status === 'fulfilled').length, givenAtOnce(bytesPerSecond));
  t.match(
    all.find(({ status }) => status === 'rejected'),
    { reason: { code: 'SHOAL_E_NOT_FOUND', message: /2 blobs are being sent already/ } },
  );
  // All but what may pass at once.
  t.ok(seconds >= (2 * blob.length - bytesPerSecond / 10) / bytesPerSecond - 0.05, `${seconds.toFixed(2)} s`);
  t.same(counts.figures, {
    fromHosts: { blobs: 0, bytes: 0 },
    fromSources: { blobs: 0, bytes: 0 },
    given: { blobs: 2, bytes: 2 * blob.length },
    refused: 1,
    failed: 0,
  });

  await writeFile(theirs.blob(digest), randomBytes(1_000));
  await t.rejects(receiveBlob(dial, { digest, bytesMax: MIB, path: join(ours.folder, 'd') }), {
    code: 'SHOAL_E_UNREACHABLE',
  });
  const again = () => receiveBlob(dial, { digest, bytesMax: MIB, path: join(ours.folder, String(Math.random())) });
  await t.rejects(again(), { code: 'SHOAL_E_NOT_FOUND' }, 'it was removed');
  t.equal(counts.figures.given.blobs, 2, 'and does not count as given');
});

t.test('a blob of two images comes once, and what the hosts of one do not give those of the other may', async (t) => {
  const blob = randomBytes(MIB);
  const digest = digestOf(blob);
  const disk = await makeStore(t);
  const good = await answering(t, (socket) => socket.end(encodeFrame({ piece: blob })));
  const bad = await answering(t, (socket) => socket.end(encodeFrame({ refused: 'no' })));
  const asked: string[] = [];
  const source = {
    dial: ({ host }: { host: string }) => {
      asked.push(host);
      return host === 'bad' ? bad() : good();
    },
  };
  const coming = new Map<string, Promise<boolean>>();
  const news = { came: () => undefined, failed: () => undefined };
  const seedsOf = (host: string) => new Seeds([{ host, address: '' }], { source, disk, log, news, coming });
  const all = ['bad', 'good', 'better', 'best'].map((host) => seedsOf(host).bring(digest, 2 * MIB));
  t.same(await Promise.all(all), [false, true, true, true]);
  t.same(asked, ['bad', 'good']);
  t.equal(coming.size, 0);
});

t.test('so many at once that each gets twice what a host that fetches waits for', (t) => {
  t.same(
    [2, 4, 7, 16, 1000].map((mebibytes) => givenAtOnce(mebibytes * MIB)),
    [1, 2, 3, 8, 8],
  );
  t.end();
});

t.test('what is told of an image that came says how many layers came from where', (t) => {
  const layers = [1, 2, 3].map((each) => `sha256:${String(each).repeat(64)}`);
  const fetched = new Fetched();
  t.equal(fetched.text(layers, 1_000), null, 'nothing came');
  fetched.note('sha256:manifest', 'the registry', 500);
  t.equal(fetched.text(layers, 40), '3 layers, 3 here already, 1 KiB in 0.0 s');
  for (const layer of layers.slice(0, 2)) fetched.note(layer, 'h2', 20 * MIB);
  t.equal(fetched.text([...layers, layers[0] ?? ''], 1_234), '3 layers, 2 from h2, 1 here already, 40 MiB in 1.2 s');
  fetched.note(layers[2] ?? '', 'the registry', MIB);
  t.equal(fetched.text(layers, 1_234), '3 layers, 2 from h2, 1 from the registry, 41 MiB in 1.2 s');
  t.end();
});

t.test('an image named by its digest is had from hosts alone, if they have all of it', async (t) => {
  const [config, layer] = [Buffer.from('{}'), randomBytes(1_000)];
  const mediaType = 'application/vnd.oci.image.layer.v1.tar';
  const document = { config: { digest: digestOf(config) }, layers: [{ digest: digestOf(layer), mediaType }] };
  const manifest = Buffer.from(JSON.stringify(document));
  const reference = `nowhere.invalid/image@${digestOf(manifest)}`;
  const theirs = new Map([manifest, config, layer].map((blob) => [digestOf(blob), blob]));
  const disk = await makeStore(t);
  const bring = async (digest: string): Promise<boolean> => {
    const blob = theirs.get(digest);
    if (blob !== undefined) await writeFile(disk.blob(digest), blob);
    return blob !== undefined;
  };
  t.equal(await fetchFromSeeds(disk, reference, { bring }, MIB), digestOf(manifest));
  theirs.delete(digestOf(layer));
  t.equal(await fetchFromSeeds(disk, reference, { bring }, MIB), null, 'the layer is the registry’s to give');
  theirs.delete(digestOf(manifest));
  t.equal(await fetchFromSeeds(disk, reference, { bring }, MIB), null);
});
