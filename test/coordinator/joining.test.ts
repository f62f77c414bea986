import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { EMPTY_CLUSTER } from '../../coordinator/cluster.js';
import { withinBounds } from '../../coordinator/host-bounds.js';
import { isVoid, validFromLeast, validFromNext, voidCertificates } from '../../coordinator/joining.js';
import { Authority, CERTIFICATE_BACKDATE_MS, makeRequest } from '../../identity/authority.js';

const NOW_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;

const folder = await mkdtemp(join(tmpdir(), 'shoal-joining-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));

t.test('a host whose clock is behind by less than an hour takes a new certificate of a new authority', async (t) => {
  const authority = new Authority(join(folder, 'ca'));
  await authority.init('test');
  await authority.issue('agent', 'h1', 1, join(folder, 'h1'));
  for (const file of ['ca/ca.crt', 'h1/own.crt', 'h1/ca.crt']) {
    const { validFrom, validTo } = new X509Certificate(await readFile(join(folder, file)));
    t.ok(Date.parse(validFrom) < Date.now() - 59 * MINUTE_MS, `${file} from ${validFrom}`);
    t.ok(Date.parse(validTo) > Date.now() + 23 * 60 * MINUTE_MS, `${file} to ${validTo}`);
  }
  const request = await makeRequest(join(folder, 'key'), 'h1');
  const notBeforeMs = Date.now() - 10 * MINUTE_MS;
  const later = new X509Certificate(await authority.sign('agent', 'h1', request, 1, { notBeforeMs }));
  t.equal(Date.parse(later.validFrom), Math.floor(notBeforeMs / 1_000) * 1_000);
});

t.test('who goes by names alone takes no host for a server of its name, as its coordinator is one', async (t) => {
  const authority = new Authority(join(folder, 'names'));
  await authority.init('test');
  const request = await makeRequest(join(folder, 'key'), 'c1');
  const shown = async (role: 'agent' | 'coordinator', name: string) =>
    new X509Certificate(await authority.sign(role, name, request, 1));
  t.equal((await shown('coordinator', 'c1')).checkHost('c1'), 'c1');
  t.equal((await shown('agent', 'c1')).checkHost('c1'), undefined);
  t.equal((await shown('agent', '10.0.0.1')).checkIP('10.0.0.1'), undefined);
});

t.test('what was made before is void and what is made after is not, by clocks that are minutes apart', async () => {
  // Each who signs or makes void has a clock of its own, right to within two and a half minutes.
  const skew = () => fc.integer({ min: -150_000, max: 150_000 });
  const times = fc.record({
    madeMs: fc.integer({ min: 0, max: 90 * MINUTE_MS }),
    afterMs: fc.integer({ min: 1_000, max: 90 * MINUTE_MS }),
    signer: skew(),
    forgetter: skew(),
    next: skew(),
    isJoined: fc.boolean(),
  });
  const seconds = (ms: number) => Math.floor(ms / 1_000) * 1_000;
  fc.assert(
    fc.property(times, ({ madeMs, afterMs, signer, forgetter, next, isJoined }) => {
      const validFrom = (nowMs: number, leastMs: number) => Math.max(seconds(nowMs - CERTIFICATE_BACKDATE_MS), leastMs);
      const madeAt = NOW_MS + madeMs + signer;
      const before = voidCertificates(EMPTY_CLUSTER, 'h1', NOW_MS - 600 * MINUTE_MS);
      const made = validFrom(madeAt, isJoined ? validFromNext(before, 'h1', madeAt) : validFromLeast(before, 'h1'));
      const voidedMs = NOW_MS + madeMs + afterMs;
      const known = isJoined ? { ...before, joined: { h1: { token: '', atMs: madeAt, voidBeforeMs: made } } } : before;
      const after = voidCertificates(known, 'h1', voidedMs + forgetter);
      if (!isVoid(after, 'h1', made)) throw new Error('what was made before is not void');
      const renewedAt = voidedMs + afterMs + next;
      const renewed = validFrom(renewedAt, validFromNext(after, 'h1', renewedAt));
      if (isVoid(after, 'h1', renewed)) throw new Error('what is made after is void');
      if (renewed > voidedMs + afterMs) throw new Error('what is made after is not valid yet');
    }),
  );
});

t.test('a host is believed within what was said of it when it was let in, whatever it says', async () => {
  const label = fc.constantFrom('a', 'b', 'c');
  const labels = fc.dictionary(label, label);
  const taints = fc.uniqueArray(label);
  const cores = fc.integer({ min: 1, max: 64 });
  const said = fc.record(
    { cores, memoryBytes: fc.nat(), labels, taints, ownCores: cores },
    { requiredKeys: ['cores', 'memoryBytes'] },
  );
  const bounds = fc.record(
    { cores: fc.double({ min: 0.5, max: 64, noNaN: true }), memoryBytes: fc.nat(), labels, taints },
    { requiredKeys: [] },
  );
  const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  fc.assert(
    fc.property(said, bounds, (claims, within) => {
      const info = { name: 'h1', kernel: '6.1', degraded: [], ...claims };
      const believed = withinBounds(info, within);
      if (believed.cores !== Math.min(info.cores, within.cores ?? info.cores)) throw new Error('cores');
      if (believed.memoryBytes !== Math.min(info.memoryBytes, within.memoryBytes ?? info.memoryBytes))
        throw new Error('memory');
      if ((believed.ownCores ?? 0) > believed.cores) throw new Error('cores for single instances');
      if (!isSame(believed.labels, within.labels ?? info.labels)) throw new Error('labels');
      const wanted = [...(within.taints ?? []), ...(info.taints ?? [])];
      if (!isSame([...new Set(wanted)].sort(), [...(believed.taints ?? [])].sort())) throw new Error('taints');
      const { cores: _c, memoryBytes: _m, ownCores: _o, labels: _l, taints: _t, ...rest } = believed;
      if (!isSame(rest, { name: 'h1', kernel: '6.1', degraded: [] })) throw new Error('the rest');
      if (!isSame(withinBounds(info), info) && claims.ownCores === undefined) throw new Error('without bounds');
    }),
  );
});
