import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { COPY_TIMING } from '../../agent/state/copy-timing.js';
import type { CopiesWay } from '../../protocol/link.js';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { STEP_MS_MAX } from './guest.js';

/** What a peer writes, see relay-peer.ts. */
interface Line {
  pid?: number;
  carrier?: string;
  reason?: string;
  received?: number;
  wrong?: string;
  ended?: string;
  done?: boolean;
  sent?: number;
  written?: number;
  copies?: CopiesWay & { byLink: number; held: number; joined: boolean; bytesOut?: number; packets?: number };
}

const PEER = join(CHECKOUT, 'dist/test/lab/relay-peer.js');
/** Of what the owner's host has when the other one begins to be filled. */
const FILL_BYTES = 2_000_000;
/** Payload that one packet of soft-RoCE holds on an interface with an MTU of 1,500. */
const PACKET_BYTES = 1_024;
/** Of 2 MiB; the two streams of a connection need half of them. */
const HUGE_PAGES = 8;

t.test('records between two hosts, and copies of state, whatever becomes of RDMA: once and in order', async (t) => {
  const rack = await bootRack({ hosts: 2 });
  t.teardown(() => rack.stop());
  let over: string | undefined;
  const read = async (host: string): Promise<Line[]> => {
    const text = await readFile(join(rack.folder, `${host}.jsonl`), 'utf8').catch(() => '');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]));
  };
  /** Until a line that comes after the first `from` fulfils the condition; answers how many there are then, and the line. */
  const waitFor = async (host: string, what: string, from: number, condition: (line: Line) => boolean) => {
    const deadline = performance.now() + STEP_MS_MAX;
    for (;;) {
      const lines = await read(host);
      const index = lines.findIndex((line, i) => i >= from && condition(line));
      if (index >= 0) return { next: index + 1, line: lines[index] as Line };
      if (over !== undefined) throw new Error(`a peer has ended: ${over}`);
      if (performance.now() > deadline) throw new Error(`${host}: ${what}: ${JSON.stringify(lines.slice(-5))}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const sh = async (host: string, script: string) => {
    const { code, stderr } = await rack.run(host, ['sh', '-c', script], { timeMs: STEP_MS_MAX });
    t.equal(code, 0, `${host}: ${script} ${stderr}`);
  };
  const carrier = (name: string) => (line: Line) => line.carrier === name;
  const copiesGo = (by: CopiesWay['by'], than: number) => (line: Line) =>
    line.copies?.by === by && (line.copies.held ?? 0) > than;
  const heldBy = (lines: Line[]) => Math.max(0, ...lines.map(({ copies }) => copies?.held ?? 0));
  /** Records still come, at both, after this moment, and what is written is copied. */
  const flows = async (by: CopiesWay['by'] = 'rdma') => {
    const held = heldBy(await read('h1'));
    const { line } = await waitFor('h1', `writes by ${by}`, (await read('h1')).length, copiesGo(by, held + 10));
    for (const host of rack.hosts) {
      const lines = await read(host);
      const before = Math.max(...lines.map(({ received }) => received ?? 0));
      await waitFor(host, 'records', lines.length, ({ received }) => (received ?? 0) > before + 50);
    }
    return line.copies;
  };
  // RDMA has an interface of its own, which can go down while TCP goes on.
  for (const [index, host] of rack.hosts.entries()) {
    await sh(
      host,
      // Else eth0 answers for rdma0's address, and packets for rxe1 come to where it is not.
      `echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore && rdma link delete rxe0 && ip link add link eth0 name rdma0 type macvlan mode bridge &&
       ip address add 10.1.0.${index + 1}/24 dev rdma0 && ip link set rdma0 up && rdma link add rxe1 type rxe netdev rdma0`,
    );
  }
  // The streams of h1 are in huge pages, those of h2 are not.
  await sh('h1', `echo ${HUGE_PAGES} >/proc/sys/vm/nr_hugepages`);
  const peers = [
    ['h1', '10.0.0.1', '10.1.0.1', 'h2', '10.0.0.2'],
    ['h2', '10.0.0.2', '10.1.0.2', 'h1', '10.0.0.1'],
  ].map((words) => {
    const [host = ''] = words;
    return rack.start(host, ['node', PEER, ...words, `/run/lab/${host}.jsonl`], { timeMs: 2 * STEP_MS_MAX });
  });
  for (const { result } of peers) {
    result.then(
      ({ code, stderr }) => {
        if (code !== 0) over = stderr;
      },
      (error: unknown) => {
        over = String(error);
      },
    );
  }

  const first = await waitFor('h1', 'verbs', 0, carrier('verbs'));
  t.match(first.line.reason, /^both hosts have RDMA: rxe1 port 1 on rdma0, rxe1/);
  const { stdout: memory } = await rack.run('h1', ['cat', '/proc/meminfo'], { timeMs: STEP_MS_MAX });
  t.match(memory, new RegExp(`HugePages_Total: +${HUGE_PAGES}\nHugePages_Free: +${HUGE_PAGES / 2}\n`), 'huge pages');
  await t.test('a state shard is copied by the card', async (t) => {
    const { line } = await waitFor('h1', 'the copy', 0, ({ copies }) => copies?.joined === true);
    const { copies = null } = line;
    t.match(copies, { by: 'rdma', reason: /^both hosts have RDMA: rxe1/ });
    const { rdmaBytes = 0, bytesOut = 0, packets = 0, byLink = 0 } = copies ?? {};
    // Emulated and busy, the channel was away for a moment once: what is said then goes by the link, a part a message at most.
    const linkBytesMax = byLink * COPY_TIMING.partBytesMax;
    t.ok(linkBytesMax < FILL_BYTES / 2, `${byLink} messages by the link`);
    t.ok(rdmaBytes + linkBytesMax > FILL_BYTES, `${rdmaBytes} bytes of messages, ${byLink} messages by the link`);
    t.ok(bytesOut + linkBytesMax > FILL_BYTES, `${bytesOut} bytes of records over the carrier`);
    t.ok(packets * PACKET_BYTES > rdmaBytes, `${packets} packets of the card`);
  });
  await flows();

  let { next } = first;
  await t.test('queues in the error state: TCP, then verbs again', async () => {
    const { line } = await waitFor('h1', 'pid', 0, ({ pid }) => pid !== undefined);
    await sh('h1', `kill -USR1 ${line.pid}`);
    ({ next } = await waitFor('h1', 'tcp', next, carrier('tcp')));
    ({ next } = await waitFor('h1', 'verbs', next, carrier('verbs')));
    await flows();
  });

  await t.test('the RDMA port of the other host goes down: TCP, and verbs when it is back', async (t) => {
    await sh('h2', 'ip link set rdma0 down');
    ({ next } = await waitFor('h1', 'tcp', next, carrier('tcp')));
    const byLink = await flows('link');
    t.match(byLink?.reason, /rxe1/, 'it is said why');
    const { line } = await waitFor('h2', 'why', 0, ({ reason }) => /this host: rxe1/.test(reason ?? ''));
    t.match(line.reason, /^this host: rxe1 /);
    await sh('h2', 'ip link set rdma0 up');
    ({ next } = await waitFor('h1', 'verbs', next, carrier('verbs')));
    const byRdma = await flows();
    t.ok((byRdma?.rdmaBytes ?? 0) > (byLink?.rdmaBytes ?? 0), 'by RDMA again');
  });

  await t.test('the network is away for a while: nothing is lost', async () => {
    await sh('h2', 'ip link set eth0 down');
    ({ next } = await waitFor('h1', 'none', next, carrier('none')));
    await sh('h2', 'ip link set eth0 up && ip link set rdma0 up');
    ({ next } = await waitFor('h1', 'verbs', next, carrier('verbs')));
    await flows();
  });

  for (const host of rack.hosts) {
    const { line } = await waitFor(host, 'pid', 0, ({ pid }) => pid !== undefined);
    await sh(host, `kill -USR2 ${line.pid}`);
  }
  const [one, two] = [
    await waitFor('h1', 'done', 0, ({ done }) => done === true),
    await waitFor('h2', 'done', 0, ({ done }) => done === true),
  ];
  t.equal(one.line.sent, two.line.received);
  t.equal(two.line.sent, one.line.received);
  t.equal(two.line.written, one.line.written, 'the copy has every write');
  for (const host of rack.hosts) {
    const lines = await read(host);
    t.same(
      lines.filter(({ wrong, ended }) => wrong !== undefined || ended !== undefined),
      [],
      host,
    );
  }
  for (const peer of peers) t.match(await peer.result, { code: 0 });
});
