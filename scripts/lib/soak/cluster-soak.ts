import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ComponentView, HostView, InstanceView, KnownEventView } from '../../../protocol/http.js';
import { NetCluster } from '../cluster/net-cluster.js';
import { retry } from '../until.js';
import { demoManifest, layDemo } from './demo/app.js';
import { DemoLoad } from './demo/load.js';
import { leftovers, processesByInstance } from './host.js';
import { KnownWrites } from './known-writes.js';
import { mountSmallDisk, Nemesis, unmountSmallDisk } from './nemesis.js';
import { WorkWatch } from './work-watch.js';

export interface ClusterSoakOptions {
  /** Folder of compiled code. */
  dist: string;
  hosts: number;
  minutes: number;
  random: () => number;
  /** Of the network namespaces; this process is in the switch's. */
  prefix: string;
  /** Ends it before its time; it throws then, with everything put away. */
  signal?: AbortSignal;
  said?: (line: string) => void;
}

export interface ClusterSoakResult {
  faults: number;
  /** After each round of faults: until all was as wanted again, in ms. */
  convergedMs: number[];
  acknowledged: number;
  /** Requests to the demo, which were answered or failed. */
  answered: number;
  failed: number;
  /** Searches that did not find a document which had been added. */
  missing: number;
  /** Calls between instances that were seen to be answered, none of them twice. */
  calls: number;
  terms: number;
  restarts: number;
}

/** Faults that overlap, between two moments of calm in which all has to become as wanted. */
const FAULTS_PER_ROUND = 5;
const CONVERGE_MS_MAX = 120_000;
const LOOK_MS = 300;
const WATCH_MS = 500;
const WRITE_MS = 700;
const COUNT_MAX = 3;
/** So many answers show that calls go again. */
const ANSWERS_AT_REST = 40;
/** What a process may hold more than at the first calm. */
const GROWTH = { descriptors: 60, bytes: 150 * 2 ** 20 };

/**
 * A cluster that runs the demo under load and a nemesis; throws what is wrong as soon as it is seen. All the time: a term has
 * one leader, two singletons never run, no process ends by itself, no request is answered twice. At each calm: what runs is what is wanted on every host and no more,
 * what was acknowledged is there, and no process holds much more memory and descriptors than at first.
 */
export async function soakCluster(options: ClusterSoakOptions): Promise<ClusterSoakResult> {
  const { dist, hosts, prefix, signal } = options;
  const cluster = await NetCluster.start({ dist, hosts, prefix, clocks: true, prepareHost: mountSmallDisk });
  const checker = new Checker(cluster);
  try {
    return await unlessAborted(play(cluster, checker, options), signal);
  } finally {
    await checker.calm().catch(() => undefined);
    await checker.load?.close();
    await cluster.close();
    for (const host of cluster.hosts) await unmountSmallDisk(cluster.runOf(host)).catch(() => undefined);
    await cluster.remove();
  }
}

async function play(cluster: NetCluster, checker: Checker, options: ClusterSoakOptions): Promise<ClusterSoakResult> {
  const { dist, minutes, random, said = () => {} } = options;
  await retry('the cluster is up', CONVERGE_MS_MAX, () => checker.assertHosts(), LOOK_MS);
  const folder = join(cluster.folder, 'demo');
  await layDemo(dist, folder);
  const manifest = await demoManifest(dist, folder, options.hosts, COUNT_MAX);
  await retry('the app is applied', CONVERGE_MS_MAX, () => cluster.ask('PUT', APP, manifest), LOOK_MS);
  const done = { faults: 0, convergedMs: [] as number[] };
  await retry('the app is up', CONVERGE_MS_MAX, () => checker.assertConverged(), LOOK_MS);
  const load = new DemoLoad(dist, cluster.rack, cluster.hosts);
  checker.load = load;
  await checker.untilAnswered();
  await checker.noteFootprints();
  const nemesis = new Nemesis(cluster, random);
  const deadline = performance.now() + minutes * 60_000;
  for (let round = 1; performance.now() < deadline; round += 1) {
    await checker.start(random);
    for (let i = 0; i < FAULTS_PER_ROUND && performance.now() < deadline; i += 1) {
      const fault = nemesis.next();
      said(`${fault.name}, for ${Math.round(fault.lastsMs)} ms`);
      done.faults += 1;
      const mended = fault
        .begin()
        .then(() => pause(fault.lastsMs))
        .then(() => fault.mend());
      // Two at once now and then.
      if (random() < 0.7) await mended;
      else checker.alsoAwait(mended);
      checker.assertNothingBroken();
    }
    await checker.calm();
    const start = performance.now();
    await retry(`round ${round} is mended`, CONVERGE_MS_MAX, () => checker.assertConverged(), LOOK_MS);
    const ms = performance.now() - start;
    done.convergedMs.push(ms);
    said(`round ${round}: as wanted after ${Math.round(ms)} ms, ${checker.acknowledged} changes acknowledged`);
    await retry(`what round ${round} wrote is there`, CONVERGE_MS_MAX, () => checker.settle(), LOOK_MS);
    await checker.untilAnswered();
    await checker.assertFootprints();
    checker.assertNothingBroken();
  }
  await load.close();
  await retry('everything is taken away', CONVERGE_MS_MAX, () => cluster.ask('DELETE', APP), LOOK_MS);
  await retry('nothing is left over', CONVERGE_MS_MAX, () => checker.assertEmpty(), LOOK_MS);
  const { acknowledged, terms } = checker;
  const { answered, failed, missing } = load;
  const calls = checker.work.answered;
  return { ...done, acknowledged, answered, failed, missing, calls, terms, restarts: cluster.restarts };
}

class Checker {
  readonly #cluster: NetCluster;
  readonly #leaders = new Map<number, string>();
  readonly #first = new Map<string, Footprint>();
  #running: Promise<unknown>[] = [];
  #ends = new AbortController();
  #broken: Error | null = null;
  readonly work: WorkWatch;
  load: DemoLoad | null = null;
  /** The count of `tokenizer` that was set by hand; null: none. */
  readonly #counts = new KnownWrites<number | null>(null);
  /** Ids of marks: each is set once, so that none that was acknowledged may be missing, whatever came after it. */
  readonly #marks = new Set<string>();
  #marksBegun = 0;
  #marksAcknowledged = 0;
  #marksLeft = MARKS_PER_ROUND_MAX;
  /** Why the last change was not acknowledged. */
  #refusal = '';

  constructor(cluster: NetCluster) {
    this.#cluster = cluster;
    this.work = new WorkWatch(() => cluster.hosts.map((host) => cluster.runOf(host)));
  }

  get terms(): number {
    return this.#leaders.size;
  }

  get acknowledged(): number {
    return this.#counts.acknowledged + this.#marksAcknowledged;
  }

  /** Writes and watches from now on; what was acknowledged before the first fault is there to be lost. */
  async start(random: () => number): Promise<void> {
    // Chance of its own, so that how fast this goes does not decide about the faults.
    let state = Math.floor(random() * 2 ** 31);
    const count = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return 1 + ((state >> 8) % COUNT_MAX);
    };
    await retry('changes are taken', CONVERGE_MS_MAX, () => this.#writeSurely(count()), LOOK_MS);
    const owners = { count: count() };
    await retry('state moves', CONVERGE_MS_MAX, () => this.#cluster.ask('PUT', MOVED, owners), LOOK_MS);
    this.#ends = new AbortController();
    this.#running = [
      this.#repeat(WATCH_MS, () => this.#watchLeaders()),
      this.#repeat(WATCH_MS, () => this.#watchSingletons()),
      this.#repeat(WATCH_MS, () => this.work.look()),
      this.#repeat(WRITE_MS, () => this.#setCount(count())),
      this.#repeat(WRITE_MS, () => this.#setMark()),
    ];
  }

  alsoAwait(work: Promise<unknown>): void {
    this.#running.push(work);
  }

  /** Ends what is done beside the faults, and waits for faults that go on. */
  async calm(): Promise<void> {
    this.#ends.abort();
    await Promise.all(this.#running.splice(0));
  }

  assertNothingBroken(): void {
    if (this.#broken !== null) throw this.#broken;
    const [crash] = this.#cluster.crashes;
    if (crash !== undefined) throw new Error(crash);
    this.load?.assertRight();
  }

  async #repeat(ms: number, action: () => Promise<void>): Promise<void> {
    const { signal } = this.#ends;
    while (!signal.aborted) {
      try {
        await action();
      } catch (error) {
        this.#broken ??= error as Error;
      }
      await pause(ms);
    }
  }

  async #watchLeaders(): Promise<void> {
    const views = await Promise.all(this.#cluster.coordinators.map((name) => this.#cluster.view(name)));
    for (const view of views) {
      if (view?.role !== 'leads' || view.term === null) continue;
      const known = this.#leaders.get(view.term) ?? view.name;
      this.#leaders.set(view.term, known);
      if (known !== view.name) throw new Error(`${known} and ${view.name} lead with the same term ${view.term}`);
    }
  }

  async #watchSingletons(): Promise<void> {
    const running: { id: string; pid: number }[] = [];
    for (const host of this.#cluster.hosts) {
      for (const [id, pids] of await processesByInstance(this.#cluster.runOf(host))) {
        if (id.startsWith('search-one-')) running.push({ id, pid: pids[0] as number });
      }
    }
    if (new Set(running.map(({ id }) => id)).size < 2) return;
    // One may have ended before the other one was seen.
    const alive = await Promise.all(running.map(({ pid }) => isAlive(pid)));
    const both = running.filter((_, index) => alive[index]).map(({ id }) => id);
    if (new Set(both).size > 1) throw new Error(`${both.join(' and ')} run at once`);
  }

  async #writeSurely(count: number): Promise<void> {
    const marks = this.#marks.size;
    const counts = this.#counts.acknowledged;
    await this.#setCount(count);
    await this.#setMark();
    if (this.#counts.acknowledged === counts) throw new Error(`a count was not acknowledged: ${this.#refusal}`);
    if (this.#marks.size === marks) throw new Error(`a mark was not acknowledged: ${this.#refusal}`);
  }

  async #setCount(count: number): Promise<void> {
    this.#counts.begin(count);
    if (await this.#isTaken('PUT', SCALE, { count })) this.#counts.acknowledge(count);
  }

  async #setMark(): Promise<void> {
    if (this.#marksLeft === 0) return;
    this.#marksLeft -= 1;
    this.#marksBegun += 1;
    const id = `mark-${this.#marksBegun}`;
    if (!(await this.#isTaken('POST', MARKS, { id, ...MARK }))) return;
    this.#marks.add(id);
    this.#marksAcknowledged += 1;
  }

  /** One attempt by one coordinator. False: it may have been done, or not. */
  async #isTaken(method: string, path: string, body: unknown): Promise<boolean> {
    const at = Math.floor((performance.now() / WRITE_MS) % this.#cluster.coordinators.length);
    try {
      await this.#cluster.askOne(this.#cluster.coordinators[at] as string, method, path, body);
      return true;
    } catch (error) {
      this.#refusal = (error as Error).message;
      return false;
    }
  }

  /** Throws unless what was acknowledged is there. */
  async #assertWrites(components: readonly ComponentView[]): Promise<void> {
    const scaled = components.find(({ component }) => component === SCALED);
    if (scaled === undefined) throw new Error(`the component ${SCALED} is not there`);
    this.#counts.assertPossible(scaled.override?.count ?? null);
    const marks = new Set((await this.#cluster.ask<KnownEventView[]>('GET', MARKS)).map(({ id }) => id));
    const missing = [...this.#marks].filter((id) => !marks.has(id));
    if (missing.length > 0) throw new Error(`acknowledged and not there: ${missing.join(', ')}`);
  }

  /** All is as wanted and nothing under way: the next round begins with what there is now. */
  async settle(): Promise<void> {
    const components = await this.#cluster.ask<ComponentView[]>('GET', COMPONENTS);
    await this.#assertWrites(components);
    this.#counts.settle(components.find(({ component }) => component === SCALED)?.override?.count ?? null);
    this.#marks.clear();
    this.#marksLeft = MARKS_PER_ROUND_MAX;
    for (const { id } of await this.#cluster.ask<KnownEventView[]>('GET', MARKS)) {
      await this.#cluster.ask('DELETE', `${MARKS}/${id}`);
    }
  }

  /** Once all is as wanted, requests are answered again. */
  async untilAnswered(): Promise<void> {
    const answered = () => this.load?.answered ?? 0;
    const before = answered();
    const attempt = async () => {
      await this.work.look();
      if (answered() - before < ANSWERS_AT_REST) throw new Error(`${answered() - before} were answered`);
    };
    await retry('requests are answered', CONVERGE_MS_MAX, attempt, LOOK_MS);
  }

  async assertHosts(): Promise<void> {
    const hosts = await this.#cluster.ask<HostView[]>('GET', '/v1/hosts');
    const away = hosts.filter(({ connected }) => !connected).map(({ name, standing }) => `${name} (${standing.why})`);
    if (hosts.length < this.#cluster.hosts.length) throw new Error(`only ${hosts.length} hosts are known`);
    if (away.length > 0) throw new Error(`away: ${away.join(', ')}`);
  }

  /** Throws unless what runs is what is wanted, and what was acknowledged is wanted. */
  async assertConverged(): Promise<void> {
    await this.assertHosts();
    const components = await this.#cluster.ask<ComponentView[]>('GET', COMPONENTS);
    await this.#assertWrites(components);
    const instances = await this.#cluster.ask<InstanceView[]>('GET', '/v1/instances');
    for (const { component, count } of components) {
      const ready = instances.filter((each) => each.component === component && each.phase === 'ready').length;
      if (ready !== count.desired) throw new Error(`${component}: ${ready} of ${count.desired} are ready`);
    }
    const unready = instances.filter(({ phase }) => phase !== 'ready').map(({ id, phase }) => `${id} is ${phase}`);
    if (unready.length > 0) throw new Error(unready.join(', '));
    for (const host of this.#cluster.hosts) {
      const wanted = new Set(instances.filter((each) => each.host === host).map(({ id }) => id));
      await this.#assertOn(host, wanted);
    }
  }

  async assertEmpty(): Promise<void> {
    for (const host of this.#cluster.hosts) await this.#assertOn(host, new Set());
  }

  async #assertOn(host: string, wanted: ReadonlySet<string>): Promise<void> {
    const run = this.#cluster.runOf(host);
    const running = [...(await processesByInstance(run)).keys()].sort();
    if (String(running) !== String([...wanted].sort())) {
      throw new Error(`${host} runs ${running.join(' ')}, wanted are ${[...wanted].join(' ')}`);
    }
    const left = (await leftovers(run, wanted)).filter((each) => !each.includes(` ${run} `));
    if (left.length > 0) throw new Error(`left over on ${host}: ${left.join(', ')}`);
  }

  async noteFootprints(): Promise<void> {
    for (const [name, footprint] of await this.#footprints()) this.#first.set(name, footprint);
  }

  async assertFootprints(): Promise<void> {
    for (const [name, now] of await this.#footprints()) {
      const first = this.#first.get(name) ?? now;
      this.#first.set(name, first);
      for (const what of ['descriptors', 'bytes'] as const) {
        if (now[what] - first[what] > GROWTH[what])
          throw new Error(`${name}: ${what} from ${first[what]} to ${now[what]}`);
      }
    }
  }

  async #footprints(): Promise<Map<string, Footprint>> {
    const found = new Map<string, Footprint>();
    for (const part of this.#cluster.parts) {
      const pid = await this.#cluster.pidOf(part);
      const footprint = pid === null ? null : await footprintOf(pid);
      if (footprint !== null && part.kind !== 'etcd') found.set(`${part.kind} of ${part.machine}`, footprint);
    }
    return found;
  }
}

const APP = '/v1/apps/search';
const COMPONENTS = `${APP}/components`;
/** Whose count is set by hand all the time. */
const SCALED = 'tokenizer';
const SCALE = `${COMPONENTS}/${SCALED}/scale`;
/** Whose state shards move, once in a round. */
const MOVED = `${COMPONENTS}/index/scale`;
/** A mark is a known event that changes no demand; there may be a hundred of them. */
const MARKS = `${COMPONENTS}/${SCALED}/known-events`;
const MARKS_PER_ROUND_MAX = 90;
const MARK = { from: '2100-01-01T00:00:00Z', to: '2100-01-02T00:00:00Z', factor: 1 };

interface Footprint {
  descriptors: number;
  bytes: number;
}

/** Null when the process is gone. */
async function footprintOf(pid: number): Promise<Footprint | null> {
  try {
    const [files, status] = await Promise.all([readdir(`/proc/${pid}/fd`), readFile(`/proc/${pid}/status`, 'utf8')]);
    const kibibytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    return { descriptors: files.length, bytes: kibibytes * 1024 };
  } catch {
    return null;
  }
}

async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    work.then(resolve, reject);
    signal?.addEventListener('abort', () => reject(new Error('it was ended before its time')), { once: true });
  });
}
