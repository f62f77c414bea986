import { randomUUID } from 'node:crypto';
import { ShoalError } from '../../../protocol/errors.js';
import { CLOCKWORK, type Clockwork, pause } from '../../clockwork.js';
import { type Candidate, decodeValue, type Store, type StoreHealth, type StoreOperation } from '../store.js';
import { decodeGroup, encodeGroup, groupsOf, type Write, writesOf } from './batch.js';
import { type Entry, type Etcd, EtcdError, type Operation, type Outcome, type Transaction } from './etcd.js';
import { STATUS } from './grpc.js';
import { Keys, read } from './keys.js';
import { type Beat, Leadership } from './leadership.js';
import { beatText, Silence } from './silence.js';

export interface EtcdStoreOptions {
  etcd: Etcd;
  /** Begins every key of this cluster; ends with a slash. */
  prefix?: string;
  /** How long a leader that is gone is waited for. Etcd gives no less than 2 with its default heartbeat. */
  leaseSeconds?: number;
  clockwork?: Clockwork;
}

export const ETCD_PREFIX = '/shoal/';
export const LEASE_SECONDS = 2;
/** One question to etcd is given so long before the next member is asked. */
const ASK_MS_MAX = 700;
/** So long a reader tries in all. */
const READ_MS_MAX = 3_000;
const RETRY_MS = 50;
/** A watch may miss what happens while it is made anew: who waits looks again at least so often. */
const LOOK_MS = 500;
/** A page of keys is meant to have about so many bytes. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_KEYS_FIRST = 64;
const PAGE_KEYS_MAX = 10_000;
/** History older than one to two of these is forgotten. */
const COMPACT_MS = 60_000;

const NOTHING = (): void => undefined;

/** What is known while this store leads. */
interface Lead {
  term: number;
  leadership: Leadership;
  /** The revision that created the leader's key: another leader has another one. */
  created: number;
  /** Number of the last write of this term. */
  sequence: number;
  /** Whether the campaign has told of it. */
  told: boolean;
  cancelCompact: () => void;
}

/**
 * A store in etcd, for coordinators on several hosts.
 *
 * Every write is one transaction that demands two things: that the leader's key is the one that this leader created, and
 * that the last write was the one that this leader knows of. So a deposed leader writes nothing, and a write whose answer
 * was lost can be sent again until it is known what became of it: it is done at most once and never late, behind a later
 * one. A batch that is too large for a transaction is first laid down in groups beside the data; one write, the journal,
 * decides that it is valid; then it is carried over. Readers see it from the journal on, and a new leader finishes it.
 */
export class EtcdStore implements Store {
  readonly shared = true;
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #clockwork: Clockwork;
  readonly #leaseSeconds: number;
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  #lead: Lead | null = null;
  #leader: Candidate | null = null;
  /** Of the leader that is waited for. */
  #leaderLease = 0n;
  #trouble: string | null = null;
  #stopWaiting: () => void = NOTHING;
  /** Writes run one after another. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor({ etcd, prefix = ETCD_PREFIX, leaseSeconds = LEASE_SECONDS, clockwork = CLOCKWORK }: EtcdStoreOptions) {
    if (!/^[\x21-\x7e]*\/$/.test(prefix)) {
      throw new ShoalError(
        'SHOAL_E_USAGE',
        `the prefix in etcd must be printable ASCII that ends with /, not ${prefix}`,
      );
    }
    this.#etcd = etcd;
    this.#keys = new Keys(prefix);
    this.#leaseSeconds = leaseSeconds;
    this.#clockwork = clockwork;
  }

  get health(): StoreHealth {
    const { address } = this.#etcd;
    if (this.#trouble === null) return { engine: 'etcd', reachable: true, detail: address };
    return { engine: 'etcd', reachable: false, detail: `${this.#trouble}; is etcd up at ${address}?` };
  }

  get leader(): Candidate | null {
    return this.#leader;
  }

  async endLeadershipOf(leader: Candidate): Promise<void> {
    if (this.#lead !== null || leader !== this.#leader || this.#leaderLease === 0n) return;
    try {
      await this.#ask(() => this.#etcd.endLease(this.#leaderLease, ASK_MS_MAX));
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async resign(): Promise<void> {
    const lead = this.#lead;
    if (lead === null) return;
    this.#lead = null;
    lead.cancelCompact();
    // It ends by itself where etcd cannot be reached.
    await lead.leadership.end(ASK_MS_MAX).catch((error: unknown) => this.#note(error));
  }

  leads(term?: number): boolean {
    const lead = this.#lead;
    return lead !== null && lead.term === (term ?? lead.term) && lead.leadership.remainingMs > 0;
  }

  onLeadershipLost(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async load(prefix: string): Promise<Map<string, unknown>> {
    this.#assertOpen();
    const texts = new Map<string, string>();
    for (;;) {
      texts.clear();
      try {
        await this.#loadInto(texts, prefix);
        break;
      } catch (error) {
        // Others wrote so much meanwhile that the moment we read at was forgotten.
        if (!(error instanceof EtcdError && error.status === STATUS.compacted)) throw this.#failure(error);
      }
    }
    const sorted = [...texts].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return new Map(sorted.map(([key, text]) => [key, decodeValue(key, text)]));
  }

  async #loadInto(texts: Map<string, string>, prefix: string): Promise<void> {
    const { end } = this.#keys.dataRange(prefix);
    let limit = PAGE_KEYS_FIRST;
    const page = (key: string): Operation => ({ kind: 'read', key, end, limit });
    const first = await this.#read([read(this.#keys.journal), page(this.#keys.data(prefix))]);
    const [journal, data] = first.results;
    let last = data;
    while (last !== undefined) {
      let bytes = 0;
      for (const { key, value } of last.entries) {
        const callers = this.#keys.callers(key);
        if (!callers.startsWith(prefix)) break;
        bytes += value.length;
        texts.set(callers, value.toString('utf8'));
      }
      const lastKey = last.entries.at(-1)?.key;
      if (!last.more || lastKey === undefined || !this.#keys.callers(lastKey).startsWith(prefix)) break;
      limit = Math.min(PAGE_KEYS_MAX, Math.max(1, Math.floor((PAGE_BYTES * last.entries.length) / Math.max(1, bytes))));
      const next: Operation = { ...page(`${lastKey}\0`), revision: first.revision } as Operation;
      [last] = (await this.#read([next])).results;
    }
    if (journal?.entries[0] === undefined) return;
    for (const group of await this.#groups(journal.entries[0], first.revision)) {
      for (const { key, text } of group) {
        if (!key.startsWith(prefix)) continue;
        if (text === null) texts.delete(key);
        else texts.set(key, text);
      }
    }
  }

  commit(batch: readonly StoreOperation[], term?: number): Promise<void> {
    const run = this.#tail.then(() => this.#commit(batch, term));
    this.#tail = run.catch(() => undefined);
    return run;
  }

  async #commit(batch: readonly StoreOperation[], term: number | undefined): Promise<void> {
    this.#assertOpen();
    const lead = this.#lead;
    if (lead === null || lead.term !== (term ?? lead.term))
      throw new ShoalError('SHOAL_E_NOT_LEADER', 'this store has not won a campaign');
    const groups = groupsOf(writesOf(batch));
    if (groups.length <= 1) {
      const [only = []] = groups;
      return this.#write(
        lead,
        only.map((write) => this.#operation(write)),
      );
    }
    for (const [index, group] of groups.entries()) {
      await this.#write(lead, [{ kind: 'put', key: this.#keys.group(index), value: encodeGroup(group) }]);
    }
    await this.#write(lead, [{ kind: 'put', key: this.#keys.journal, value: String(groups.length) }]);
    await this.#carryOver(lead, groups);
  }

  /** Puts a decided batch in its place. Who cannot finish it must not lead on, since it is valid already. */
  async #carryOver(lead: Lead, groups: readonly (readonly Write[])[]): Promise<void> {
    try {
      for (const group of groups)
        await this.#write(
          lead,
          group.map((write) => this.#operation(write)),
        );
      await this.#write(lead, [
        { kind: 'delete', key: this.#keys.journal },
        { kind: 'delete', ...this.#keys.allGroups },
      ]);
    } catch (error) {
      this.#lose(lead);
      throw notLeader(error);
    }
  }

  #operation({ key, text }: Write): Operation {
    if (text === null) return { kind: 'delete', key: this.#keys.data(key) };
    return { kind: 'put', key: this.#keys.data(key), value: text };
  }

  /** One fenced transaction, sent until it is known what became of it or the leadership is over. */
  async #write(lead: Lead, operations: readonly Operation[]): Promise<void> {
    const { leader, sequence } = this.#keys;
    const before = sequenceText(lead.term, lead.sequence);
    const after = sequenceText(lead.term, lead.sequence + 1);
    const transaction: Transaction = {
      conditions: [
        { key: leader, created: lead.created },
        { key: sequence, value: before },
      ],
      perform: [...operations, { kind: 'put', key: sequence, value: after }],
      otherwise: [read(leader), read(sequence)],
    };
    let open = false;
    while (this.#lead === lead && lead.leadership.remainingMs > 0) {
      try {
        const timeoutMs = Math.min(ASK_MS_MAX, lead.leadership.remainingMs);
        const { held, results } = await this.#ask(() => this.#etcd.transact(transaction, timeoutMs));
        const [holder, last] = results;
        // An earlier try of the same write may have arrived although its answer did not.
        const done = held || (holder?.entries[0]?.created === lead.created && textOf(last?.entries[0]) === after);
        if (!done) break;
        lead.sequence += 1;
        return;
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error;
        // Nothing of it was done, unless an earlier try was.
        if (error.fault === 'refused' && !isPassing(error)) {
          if (!open) throw this.#failure(error);
          break;
        }
        if (error.fault === 'unknown') open = true;
        await pause(this.#clockwork, RETRY_MS);
      }
    }
    this.#lose(lead);
    throw notLeader();
  }

  async campaign(candidate: Candidate = { name: '', api: '', link: null }, signal?: AbortSignal): Promise<number> {
    this.#assertOpen();
    await this.resign();
    const ended = () => this.#closing.signal.aborted || signal?.aborted === true;
    const callOff = () => this.#stopWaiting();
    signal?.addEventListener('abort', callOff, { once: true });
    try {
      return await this.#campaign(candidate, ended);
    } finally {
      signal?.removeEventListener('abort', callOff);
    }
  }

  async #campaign(candidate: Candidate, ended: () => boolean): Promise<number> {
    const text = JSON.stringify({ ...candidate, id: randomUUID() });
    const silence = new Silence();
    while (!ended()) {
      try {
        const { leader, beat } = this.#keys;
        const seen = await this.#ask(() => this.#etcd.transact(reading([read(leader), read(beat)]), ASK_MS_MAX));
        const [holder, last] = seen.results.map(({ entries }) => entries[0]);
        this.#noteLeader(holder);
        if (holder !== undefined) {
          const leftMs = silence.leftMs(holder.lease, last, this.#clockwork.nowMs());
          if (leftMs > 0) await this.#untilLeaderChanges(seen.revision + 1, Math.min(LOOK_MS, leftMs));
          else await this.#takeAway(holder, last as Entry);
          continue;
        }
        const lead = await this.#tryToLead(text);
        if (lead === null) continue;
        this.#lead = lead;
        this.#leader = candidate;
        await this.#finishJournal(lead);
        this.#compactLater(lead, seen.revision);
        lead.told = true;
        return lead.term;
      } catch (error) {
        // Won, but not taken up: kept, it would keep everybody waiting.
        if (this.#lead !== null) this.#lose(this.#lead);
        if (error instanceof EtcdError && error.fault === 'refused' && !isPassing(error)) throw this.#failure(error);
        if (error instanceof ShoalError && error.code !== 'SHOAL_E_NOT_LEADER') throw error;
        await pause(this.#clockwork, RETRY_MS);
      }
    }
    throw new ShoalError('SHOAL_E_CANCELLED', 'the campaign was called off');
  }

  /** Makes every later term greater than this one. Throws as commit() does. */
  raiseTerm(term: number): Promise<void> {
    const run = this.#tail.then(async () => {
      const lead = this.#lead;
      if (lead === null) throw notLeader();
      const value = String(Math.max(term, lead.term));
      await this.#write(lead, [{ kind: 'put', key: this.#keys.term, value }]);
    });
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** The same object while it is the same leadership. */
  #noteLeader(holder: Entry | undefined): void {
    const lease = holder?.lease ?? 0n;
    if (lease === this.#leaderLease && this.#leader !== null) return;
    this.#leaderLease = lease;
    this.#leader = holder === undefined ? null : readCandidate(holder);
  }

  /**
   * Takes the leadership from a leader that has given no beat for so long that it no longer believes to lead. Etcd would wait
   * longer where its own leader went with that one.
   */
  async #takeAway(holder: Entry, last: Entry): Promise<void> {
    const { leader, beat } = this.#keys;
    const conditions = [
      { key: leader, created: holder.created },
      { key: beat, modified: last.modified },
    ];
    const perform: Operation[] = [{ kind: 'delete', key: leader }];
    await this.#ask(() => this.#etcd.transact({ conditions, perform, otherwise: [] }, ASK_MS_MAX));
  }

  /** Creates the leader's key if nobody has it; null when somebody was faster. */
  async #tryToLead(text: string): Promise<Lead | null> {
    const { leader, beat, term: termKey, sequence } = this.#keys;
    let lead: Lead | null = null;
    const leadership = await Leadership.begin(this.#etcd, this.#clockwork, {
      seconds: this.#leaseSeconds,
      timeoutMs: ASK_MS_MAX,
      beat: (lease) => this.#beatOf(text, lease, () => lead !== null),
      lost: () => {
        if (lead !== null) this.#lose(lead);
      },
    });
    try {
      while (leadership.remainingMs > 0) {
        const { results } = await this.#read([read(leader), read(termKey)]);
        const [holder, known] = results;
        const taken = holder?.entries[0];
        const term = readTerm(known?.entries[0]);
        if (taken !== undefined && taken.lease !== leadership.leaseId) break;
        if (taken !== undefined) {
          // Ours: the answer to an earlier try was lost.
          lead = { term, leadership, created: taken.created, sequence: 0, told: false, cancelCompact: NOTHING };
          return lead;
        }
        await this.#create(term, [
          { kind: 'put', key: leader, value: text, lease: leadership.leaseId },
          { kind: 'put', key: beat, value: beatText(leadership.leaseId, this.#leaseSeconds, 0) },
          { kind: 'put', key: termKey, value: String(term + 1) },
          { kind: 'put', key: sequence, value: sequenceText(term + 1, 0) },
        ]);
      }
    } finally {
      if (lead === null) this.#inBackground(leadership.end(ASK_MS_MAX));
    }
    return null;
  }

  /**
   * Before it leads nobody can see a beat, and none is needed: so long as there is no leader it is enough that none was there
   * after it was asked for.
   */
  #beatOf(text: string, lease: bigint, leads: () => boolean): Beat {
    const { leader, beat } = this.#keys;
    let count = 0;
    return async (timeoutMs) => {
      count += 1;
      const { held, results } = await this.#etcd.transact(
        {
          conditions: [{ key: leader, value: text }],
          perform: [{ kind: 'put', key: beat, value: beatText(lease, this.#leaseSeconds, count) }],
          otherwise: [read(leader)],
        },
        timeoutMs,
      );
      return held || (!leads() && results[0]?.entries.length === 0);
    };
  }

  /** What came of it is looked at afterwards, whether an answer comes or not. */
  async #create(term: number, perform: readonly Operation[]): Promise<void> {
    const { leader, term: termKey } = this.#keys;
    const termIs = term === 0 ? { key: termKey, created: 0 } : { key: termKey, value: String(term) };
    try {
      await this.#ask(() =>
        this.#etcd.transact({ conditions: [{ key: leader, created: 0 }, termIs], perform, otherwise: [] }, ASK_MS_MAX),
      );
    } catch (error) {
      // Also where the lease has ended in etcd before this arrived, which is found out by keeping it.
      const passes = error instanceof EtcdError && (error.fault === 'unknown' || isPassing(error));
      if (!passes && !(error instanceof EtcdError && error.status === STATUS.notFound)) throw error;
      await pause(this.#clockwork, RETRY_MS);
    }
  }

  /** A leader before has decided a batch that it did not finish, or has begun one that it did not decide. */
  async #finishJournal(lead: Lead): Promise<void> {
    const { results, revision } = await this.#read([
      read(this.#keys.journal),
      { kind: 'read', ...this.#keys.allGroups, limit: 1 },
    ]);
    const [journal, leftOver] = results;
    const entry = journal?.entries[0];
    if (entry !== undefined) await this.#carryOver(lead, await this.#groups(entry, revision));
    else if ((leftOver?.entries.length ?? 0) > 0)
      await this.#write(lead, [{ kind: 'delete', ...this.#keys.allGroups }]);
  }

  /** The groups of the journal, as they were at the revision. */
  async #groups(journal: Entry, revision: number): Promise<Write[][]> {
    const count = Number(journal.value.toString('utf8'));
    const groups: Write[][] = [];
    for (let index = 0; index < count; index += 1) {
      const { results } = await this.#read([{ kind: 'read', key: this.#keys.group(index), revision }]);
      const entry = results[0]?.entries[0];
      if (entry === undefined)
        throw new ShoalError('SHOAL_E_STORE', `group ${index} of ${count} of a batch is missing`);
      groups.push(decodeGroup(entry.value));
    }
    return groups;
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#stopWaiting();
    this.#listeners.clear();
    await this.resign();
    this.#etcd.close();
  }

  #lose(lead: Lead): void {
    if (this.#lead !== lead) return;
    this.#lead = null;
    this.#leader = null;
    lead.cancelCompact();
    this.#inBackground(lead.leadership.end(ASK_MS_MAX));
    if (lead.told) for (const listener of [...this.#listeners]) listener();
  }

  /** Without this etcd would keep every value that was ever written. */
  #compactLater(lead: Lead, revision: number): void {
    lead.cancelCompact = this.#clockwork.after(COMPACT_MS, () => {
      this.#inBackground(
        (async () => {
          await this.#etcd.compact(revision, READ_MS_MAX).catch((error: unknown) => {
            // Somebody else has done it.
            if (!(error instanceof EtcdError && error.status === STATUS.compacted)) throw error;
          });
        })(),
      );
      this.#inBackground(
        this.#read([read(this.#keys.leader)]).then((seen) => {
          if (this.#lead === lead) this.#compactLater(lead, seen.revision);
        }),
      );
    });
  }

  async #untilLeaderChanges(fromRevision: number, ms: number): Promise<void> {
    const enough = new AbortController();
    this.#stopWaiting = () => enough.abort();
    const cancel = this.#clockwork.after(ms, () => enough.abort());
    try {
      await this.#etcd.untilChanged(this.#keys.leaderAndBeat, fromRevision, enough.signal);
    } finally {
      cancel();
      this.#stopWaiting = NOTHING;
    }
  }

  /** Reads at one moment; tries again for a while when etcd does not answer. */
  async #read(operations: readonly Operation[]): Promise<Outcome> {
    const untilMs = this.#clockwork.nowMs() + READ_MS_MAX;
    for (;;) {
      try {
        return await this.#ask(() => this.#etcd.transact(reading(operations), ASK_MS_MAX));
      } catch (error) {
        const again = error instanceof EtcdError && (error.fault === 'unknown' || isPassing(error));
        if (!again || this.#clockwork.nowMs() > untilMs || this.#closing.signal.aborted) throw error;
        await pause(this.#clockwork, RETRY_MS);
      }
    }
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      const answer = await question();
      this.#trouble = null;
      return answer;
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  #note(error: unknown): void {
    if (error instanceof EtcdError && (error.fault === 'unknown' || isPassing(error))) this.#trouble = error.message;
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#note(error));
  }

  #failure(error: unknown): unknown {
    if (!(error instanceof EtcdError)) return error;
    const away = error.fault === 'unknown' || isPassing(error);
    return new ShoalError(away ? 'SHOAL_E_STORE_AWAY' : 'SHOAL_E_STORE', explained(error.message), { cause: error });
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw new ShoalError('SHOAL_E_STORE', 'the store is closed');
  }
}

function reading(perform: readonly Operation[]): Transaction {
  return { conditions: [], perform, otherwise: [] };
}

/** No connection came about, the member has no leader at the moment, or a token has ended: the next try may pass. */
function isPassing({ status, message }: EtcdError): boolean {
  return status === STATUS.unavailable || status === STATUS.unauthenticated || message.includes('too many requests');
}

function sequenceText(term: number, sequence: number): string {
  return `${term}:${sequence}`;
}

function textOf(entry: Entry | undefined): string | undefined {
  return entry?.value.toString('utf8');
}

function readTerm(entry: Entry | undefined): number {
  const text = textOf(entry) ?? '0';
  const term = Number(text);
  if (Number.isSafeInteger(term) && term >= 0) return term;
  throw new ShoalError('SHOAL_E_STORE', `the store holds the term ${JSON.stringify(text)}, which is no term`);
}

/** What the leader says of itself; null when it says nothing that can be read. */
function readCandidate(entry: Entry): Candidate | null {
  try {
    const { name, api, link = null } = JSON.parse(entry.value.toString('utf8')) as Partial<Candidate>;
    return typeof name === 'string' && typeof api === 'string' ? { name, api, link } : null;
  } catch {
    return null;
  }
}

function notLeader(cause?: unknown): ShoalError {
  return new ShoalError('SHOAL_E_NOT_LEADER', 'this coordinator no longer leads, or cannot know', { cause });
}

function explained(message: string): string {
  if (!message.includes('database space exceeded')) return message;
  const remedy = 'defragment it, raise its --quota-backend-bytes, then `etcdctl alarm disarm`';
  return `${message}; etcd is full and takes no more: ${remedy}`;
}
