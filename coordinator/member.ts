import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Authority } from '../identity/authority.js';
import type { Identity } from '../identity/identity.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import type { ClusterView } from '../protocol/http.js';
import { pause } from '../protocol/pause.js';
import type { Access } from './api/access.js';
import type { Behind } from './api/front.js';
import { createApi } from './api/server.js';
import type { EventLog } from './events.js';
import { LeaderWatch } from './leader-watch.js';
import type { LinkServer } from './link-server.js';
import { Coordinator } from './loop.js';
import { RevokedWatch } from './revoked-watch.js';
import type { SecretBox } from './secret-box.js';
import type { Candidate, Store } from './store/store.js';

export interface MemberOptions extends Access {
  store: Store;
  candidate: Candidate;
  link: LinkServer;
  /** Of this coordinator, by whose list certificates of others are refused. */
  identity?: Identity;
  /** Signs certificates of hosts that join. */
  authority?: Authority;
  events: EventLog;
  /** Ms since the epoch. */
  clock: () => number;
  secrets: SecretBox;
  /** The agent's state folder on this host, for logs that its agent cannot be asked for. */
  run: string;
  version: string;
  log: Logger;
}

/** How often it is looked who leads, while another does. */
const LOOK_MS = 100;
/** After a failure that passes. */
const RETRY_MS = 500;

/** One of any number of coordinators: leads while its store says so, follows whoever leads otherwise. */
export class Member implements Behind {
  readonly #options: MemberOptions;
  #coordinator: Coordinator | null = null;
  #api: FastifyInstance | null = null;
  #leads = false;
  /** When it last led. */
  #ledUntilMs = 0;
  #followed: string | null = null;
  #watch: LeaderWatch | null = null;
  /** Of a coordinator with an identity; it leads only while its certificate is not revoked. */
  #revokedWatch: RevokedWatch | null = null;
  #isRevoked = false;
  #stepDown: () => void = () => undefined;
  #leaderChanged: () => void = () => undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
  }

  get api(): FastifyInstance | null {
    return this.#api;
  }

  get leads(): boolean {
    return this.#leads && this.#options.store.leads();
  }

  get leaderApi(): string | null {
    const { leader } = this.#options.store;
    if (this.#revokedWatch?.isKnown === false) return null;
    return leader === null || leader.api === '' || leader.api === this.#options.candidate.api ? null : leader.api;
  }

  onLeaderChange(listener: () => void): void {
    this.#leaderChanged = listener;
  }

  view(): ClusterView {
    const { store, candidate, clock } = this.#options;
    const { leads } = this;
    const { leader, health } = store;
    const role = leads ? 'leads' : leader !== null && health.reachable ? 'follows' : 'waits';
    return {
      name: candidate.name,
      role,
      term: this.#coordinator?.term ?? null,
      leader: leader === null ? null : { name: leader.name, api: leader.api },
      store: { engine: health.engine, reachable: health.reachable, detail: health.detail },
      staleSeconds: leads || this.#api === null ? null : Math.round((clock() - this.#ledUntilMs) / 1_000),
    };
  }

  /** Leads again and again until the signal aborts, or once where the store is embedded. Throws what does not pass. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#options;
    const looking = setInterval(() => this.#lookWhoLeads(), LOOK_MS);
    this.#watchRevoked();
    try {
      while (!signal.aborted) {
        try {
          if (this.#isRevoked) {
            await pause(RETRY_MS, signal);
            continue;
          }
          await this.#leadOnce(signal);
          if (store.shared || signal.aborted) continue;
        } catch (error) {
          if (signal.aborted) break;
          if (this.#isRevoked) continue;
          const { code } = toShoalError(error);
          if (!store.shared || (code !== 'SHOAL_E_NOT_LEADER' && code !== 'SHOAL_E_STORE_AWAY')) throw error;
          log.warn({ err: error }, 'the leadership could not be taken up');
          await pause(RETRY_MS, signal);
          continue;
        }
        throw new ShoalError('SHOAL_E_NOT_LEADER', 'another coordinator has taken over this store');
      }
    } finally {
      clearInterval(looking);
      this.#revokedWatch?.close();
      this.#watch?.close();
    }
  }

  async #leadOnce(signal: AbortSignal): Promise<void> {
    const { store, candidate, events, clock, log, link } = this.#options;
    const ended = new AbortController();
    const unsubscribe = store.onLeadershipLost(() => ended.abort());
    const end = () => ended.abort();
    signal.addEventListener('abort', end, { once: true });
    try {
      this.#stepDown = end;
      const coordinator = await Coordinator.open({ store, events, clock, log, candidate, signal: ended.signal });
      const api = await createApi({
        ...this.#options,
        profiles: link,
        logs: link,
        exec: link,
        link: candidate.link,
        coordinator,
        cluster: () => this.view(),
      });
      await this.#api?.close();
      this.#api = api;
      this.#coordinator = coordinator;
      this.#leads = true;
      link.follow(coordinator);
      coordinator.start();
      log.info({ term: coordinator.term, store: store.health.detail }, 'the coordinator leads');
      await aborted(ended.signal);
      this.#leads = false;
      this.#ledUntilMs = clock();
      link.follow(null);
      if (store.leads()) await coordinator.stop();
      else await coordinator.halt();
      if (this.#isRevoked) await store.resign();
      log.info('the coordinator no longer leads');
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', end);
    }
  }

  /** Ends the answers under way. */
  async close(): Promise<void> {
    await this.#api?.close();
  }

  /** Where coordinators share a store: one whose certificate is revoked would be refused by all agents, so another one leads. */
  #watchRevoked(): void {
    const { identity, store, log } = this.#options;
    if (identity === undefined || !store.shared) return;
    const changed = (isRevoked: boolean) => {
      this.#isRevoked = isRevoked;
      if (!isRevoked) return log.info('the certificate of this coordinator is valid again: it may lead');
      const remedy = 'bring another one into its identity folder, made by `shoal cert coordinator`';
      log.error(`the certificate of this coordinator is revoked; it does not lead: ${remedy}`);
      this.#stepDown();
    };
    this.#revokedWatch = new RevokedWatch({ identity, store, leads: () => this.#leads, changed, log });
  }

  /** Agents that wait here are sent to who leads, and it is noticed when that one is gone. */
  #lookWhoLeads(): void {
    const { store, candidate, link } = this.#options;
    const { leader } = store;
    const other = this.#leads || leader === null || leader.api === candidate.api ? null : leader;
    const seen = other === null ? null : JSON.stringify(other);
    if (seen === this.#followed) return;
    this.#followed = seen;
    this.#leaderChanged();
    this.#watch?.close();
    this.#watch = other === null || other.api === '' ? null : new LeaderWatch(other.api, () => this.#leaderGone(other));
    if (!this.#leads) link.follow(other === null ? null : { link: other.link });
  }

  #leaderGone(leader: Candidate): void {
    const { store, log } = this.#options;
    log.warn({ leader: leader.name }, 'the process of the leader is gone');
    // Otherwise its lease ends by itself.
    store.endLeadershipOf(leader).catch((error: unknown) => log.warn({ err: error }, 'its lease could not be ended'));
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
