import { randomBytes } from 'node:crypto';
import type { CarrierSecrets, RelayEvent, RelayHandle } from '../native/index.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { type CarrierChoice, chooseCarrier, type RdmaAbility } from './choose-carrier.js';
import type { RelayMessage } from './relay-messages.js';

const TOKEN_BYTES = 32;
const SESSION_BYTES = 16;
/** An attempt that is not done by then has failed. */
const ATTEMPT_MS_MAX = 8_000;
const VERBS_GRACE_MS = 1_000;

/** What both ends of a pair need of their host. */
export interface PairHost {
  relay: RelayHandle;
  /** Where the own relay listens. */
  address: string;
  port: number;
  /** What goes to other hosts need not be encrypted. */
  plain: boolean;
  /** Looked up afresh at each attempt. There is none where all has to be encrypted. */
  ability(): RdmaAbility;
  /** Times of retries, in ms: the first, and the longest after doubling. */
  retryMs: { tcp: [number, number]; verbs: [number, number] };
}

export type CarrierState = 'none' | 'tcp' | 'verbs';

export interface PairEvents {
  send(message: RelayMessage): void;
  /** The session has a connection now, or another than before. */
  opened(connection: number): void;
  /** The carrier, or what is known of it, has changed. */
  changed(): void;
  /** What came over the network was not what the other host sent. */
  forged(detail: string): void;
}

/**
 * One end of the connection between this host and another: brings its relay's carriers up, TCP at once and then verbs
 * where both can, and again whenever one is down. The host with the smaller name leads.
 */
export class RelayPair {
  readonly #host: PairHost;
  readonly #events: PairEvents;
  readonly #leads: boolean;
  #session: string | undefined;
  #connection: number | undefined;
  #carrier: CarrierState = 'none';
  /** Of the last connection by TCP. */
  #sealed = false;
  /** Of the own RDMA, as the other end knows it. */
  #toldAddress: string | null = null;
  #choice: CarrierChoice = { carrier: 'tcp', reason: 'not connected yet' };
  #peerRdma: RdmaAbility = { address: null, reason: 'has not said' };
  /** The session has been connected before. */
  #resumes = false;
  #attempt = 0;
  /** What is tried now: it ends with an event, an answer that refuses, or its time. */
  #trying: 'tcp' | 'verbs' | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = { tcp: 0, verbs: 0 };
  #verbsFailed: string | null = null;
  #closed = false;

  constructor(host: PairHost, leads: boolean, events: PairEvents) {
    this.#host = host;
    this.#leads = leads;
    this.#events = events;
  }

  get connection(): number | undefined {
    return this.#connection;
  }
  get carrier(): CarrierState {
    return this.#carrier;
  }
  /** Whether what is carried now is encrypted. */
  get encrypted(): boolean {
    return this.#carrier === 'tcp' && this.#sealed;
  }
  /** What shall carry, and why. */
  get choice(): CarrierChoice {
    return this.#choice;
  }

  /** Sees to it that the hosts are connected, from now on. */
  connect(): void {
    if (this.#leads) {
      // What was asked over an earlier link is answered no more.
      this.#trying = undefined;
      this.#step();
    } else if (this.#carrier === 'none') this.#events.send({ type: 'relay-wanted', lost: false });
  }

  /** What this host has of RDMA now may have changed. */
  refresh(rdma: RdmaAbility): void {
    if (this.#session === undefined || rdma.address === this.#toldAddress) return;
    this.#toldAddress = rdma.address;
    // What the card's own driver does not tell of is noticed here.
    if (rdma.address === null && this.#carrier === 'verbs') this.#drop();
    else if (this.#leads) this.#retryVerbs();
    else this.#events.send({ type: 'relay-rdma', rdma });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#forget();
  }

  receive(message: RelayMessage): void {
    if (this.#closed) return;
    switch (message.type) {
      case 'relay-wanted':
        if (this.#leads) this.#wanted(message.lost);
        break;
      case 'relay-rdma':
        this.#peerRdma = message.rdma;
        if (this.#leads) this.#retryVerbs();
        break;
      case 'relay-ask':
        if (!this.#leads) this.#answer(message);
        break;
      case 'relay-answer':
        if (this.#isCurrent(message, 'tcp')) this.#dial(message);
        break;
      case 'relay-verbs':
        if (!this.#leads) this.#joinVerbs(message);
        else if (this.#isCurrent(message, 'verbs')) this.#finishVerbs(message);
        break;
      case 'relay-refused':
        if (this.#isCurrent(message, this.#trying)) this.#refused(message);
        break;
    }
  }

  /** Of the own connection. */
  onRelayEvent(event: RelayEvent): void {
    if ((event.type === 'carrier-down' || event.type === 'dial-failed') && event.reason === 'forged') {
      this.#events.forged(event.detail);
    }
    switch (event.type) {
      case 'carrier-up':
        this.#up(event.carrier);
        break;
      case 'carrier-down':
        this.#carrier = 'none';
        this.#events.changed();
        if (event.carrier === 'verbs') this.#noteVerbsFailure(event.detail);
        if (!this.#leads) this.#events.send({ type: 'relay-wanted', lost: true });
        else this.#lost();
        break;
      case 'carrier-replaced':
        this.#carrier = 'none';
        break;
      case 'dial-failed':
        this.#failed(event.carrier, event.detail);
        break;
      case 'connection-ended':
        this.#connection = undefined;
        this.#forget();
        if (this.#leads) this.#later('tcp');
        break;
    }
  }

  // --- The leader

  /** TCP may be lost because the other end has taken verbs in use, which is known here a moment later. */
  #lost(): void {
    if (this.#trying === 'verbs') this.#endTryAfter('verbs', VERBS_GRACE_MS, 'TCP was lost meanwhile');
    else {
      this.#trying = undefined;
      this.#step();
    }
  }

  /** Does what is next: a connection first, then the better carrier. */
  #step(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#trying !== undefined) return;
    if (this.#carrier === 'none') this.#ask();
    else if (this.#carrier === 'tcp' && this.#choose().carrier === 'verbs') this.#beginVerbs();
  }

  /** The other end has no carrier: what is one here is none any more. */
  #wanted(lost: boolean): void {
    if (lost && this.#carrier !== 'none') this.#drop();
    else this.#step();
  }

  #drop(): void {
    if (this.#connection !== undefined) this.#host.relay.drop(this.#connection);
  }

  #retryVerbs(): void {
    this.#verbsFailed = null;
    this.#failures.verbs = 0;
    this.#step();
  }

  #choose(): CarrierChoice {
    this.#choice = chooseCarrier(this.#host.ability(), this.#peerRdma, this.#verbsFailed);
    this.#events.changed();
    return this.#choice;
  }

  #ask(): void {
    try {
      if (this.#session === undefined) this.#open(randomBytes(SESSION_BYTES).toString('hex'));
    } catch (error) {
      // Without descriptors or memory, which there may be later.
      this.#failed('tcp', toShoalError(error).message);
      return;
    }
    this.#try('tcp');
    const { plain } = this.#host;
    const [resumes, rdma] = [this.#resumes, this.#tellAbility()];
    this.#events.send({ type: 'relay-ask', ...this.#head(), resumes, plain, rdma });
  }

  #dial({ rdma, address, port, show, shown, secrets }: Extract<RelayMessage, { type: 'relay-answer' }>): void {
    this.#peerRdma = rdma;
    this.#attemptTo('tcp', (connection) => {
      if (secrets === null && !this.#host.plain) {
        throw new ShoalError('SHOAL_E_FRAME', 'the other host does not encrypt, which --fabric-plain here would allow');
      }
      const [ours, theirs] = [Buffer.from(show, 'hex'), Buffer.from(shown, 'hex')];
      this.#seal(secrets, { out: 'leaders', in: 'others' }, (own) =>
        this.#host.relay.dial(connection, address, port, ours, theirs, own),
      );
    });
  }

  #beginVerbs(): void {
    this.#try('verbs');
    this.#attemptTo('verbs', (connection) => {
      const verbs = this.#host.relay.prepareVerbs(connection, this.#rdmaAddress());
      this.#events.send({ type: 'relay-verbs', ...this.#head(), verbs });
    });
  }

  #finishVerbs({ verbs }: Extract<RelayMessage, { type: 'relay-verbs' }>): void {
    this.#attemptTo('verbs', (connection) => this.#host.relay.connectVerbs(connection, verbs, true));
  }

  #refused({ unknown, detail }: Extract<RelayMessage, { type: 'relay-refused' }>): void {
    const tried = this.#trying ?? 'tcp';
    // The other agent began anew: what was sent to it is lost, and channels must not go on as if it were not.
    if (unknown) this.#forget();
    this.#failed(tried, detail);
  }

  #failed(carrier: 'tcp' | 'verbs', detail: string): void {
    if (this.#trying === carrier) this.#trying = undefined;
    if (carrier === 'verbs') {
      this.#noteVerbsFailure(detail);
      this.#choose();
    } else this.#choice = { carrier: 'tcp', reason: `no connection: ${detail}` };
    this.#events.changed();
    if (!this.#leads) {
      if (this.#carrier === 'none') this.#events.send({ type: 'relay-wanted', lost: true });
      return;
    }
    // Whether the former carrier was dropped for this one or not: TCP at once when there is none.
    if (carrier === 'verbs' && this.#carrier === 'none') this.#step();
    else this.#later(carrier);
  }

  /** RDMA is not tried again for a while; each failure in a row doubles that. */
  #noteVerbsFailure(detail: string): void {
    this.#verbsFailed = detail;
    this.#failures.verbs += 1;
  }

  #later(carrier: 'tcp' | 'verbs'): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    if (carrier === 'tcp') this.#failures.tcp += 1;
    const [least, most] = this.#host.retryMs[carrier];
    const delayMs = Math.min(most, least * 2 ** Math.min(20, Math.max(0, this.#failures[carrier] - 1)));
    this.#timer = setTimeout(() => {
      if (carrier === 'verbs') this.#verbsFailed = null;
      this.#step();
    }, delayMs);
    this.#timer.unref();
  }

  // --- The other end

  #answer({ session, attempt, resumes, plain, rdma }: Extract<RelayMessage, { type: 'relay-ask' }>): void {
    if (session !== this.#session) {
      this.#forget();
      if (resumes) {
        const detail = 'this agent has begun anew';
        this.#events.send({ type: 'relay-refused', session, attempt, unknown: true, detail });
        return;
      }
    }
    this.#peerRdma = rdma;
    this.#choose();
    this.#orRefuse(session, attempt, () => {
      const connection = session === this.#session ? (this.#connection as number) : this.#open(session);
      const [show, shown] = [randomHex(), randomHex()];
      const secrets = plain && this.#host.plain ? null : { leaders: randomHex(), others: randomHex() };
      const [theirs, ours] = [Buffer.from(show, 'hex'), Buffer.from(shown, 'hex')];
      this.#seal(secrets, { out: 'others', in: 'leaders' }, (own) =>
        this.#host.relay.expect(connection, theirs, ours, own),
      );
      const { address, port } = this.#host;
      const own = this.#tellAbility();
      this.#events.send({ type: 'relay-answer', session, attempt, rdma: own, address, port, show, shown, secrets });
    });
  }

  #joinVerbs({ session, attempt, verbs }: Extract<RelayMessage, { type: 'relay-verbs' }>): void {
    if (session !== this.#session) {
      this.#events.send({ type: 'relay-refused', session, attempt, unknown: true, detail: 'another session' });
      return;
    }
    this.#orRefuse(session, attempt, () => {
      const connection = this.#connection as number;
      // Also one that insists is not spoken with unencrypted, where that is not wanted.
      if (!this.#host.plain) throw new ShoalError('SHOAL_E_FRAME', this.#host.ability().reason);
      const ours = this.#host.relay.prepareVerbs(connection, this.#rdmaAddress());
      this.#host.relay.connectVerbs(connection, verbs, false);
      this.#events.send({ type: 'relay-verbs', session, attempt, verbs: ours });
    });
  }

  #orRefuse(session: string, attempt: number, answer: () => void): void {
    try {
      answer();
    } catch (error) {
      const detail = toShoalError(error).message.slice(0, 400);
      this.#events.send({ type: 'relay-refused', session, attempt, unknown: false, detail });
    }
  }

  // --- Both

  #seal(
    secrets: { leaders: string; others: string } | null,
    names: { out: 'leaders' | 'others'; in: 'leaders' | 'others' },
    use: (own: CarrierSecrets | null) => void,
  ): void {
    this.#sealed = secrets !== null;
    if (secrets === null) {
      use(null);
      return;
    }
    const own = { out: Buffer.from(secrets[names.out], 'hex'), in: Buffer.from(secrets[names.in], 'hex') };
    use(own);
    for (const each of [own.out, own.in]) each.fill(0);
  }

  /** Throws, with nothing changed, when the host has no descriptors or memory left. */
  #open(session: string): number {
    const connection = this.#host.relay.open();
    this.#session = session;
    this.#resumes = false;
    this.#connection = connection;
    this.#events.opened(connection);
    return connection;
  }

  #forget(): void {
    if (this.#connection !== undefined) this.#host.relay.close(this.#connection);
    this.#connection = undefined;
    this.#session = undefined;
    this.#carrier = 'none';
    this.#trying = undefined;
    this.#events.changed();
  }

  #up(carrier: 'tcp' | 'verbs'): void {
    this.#carrier = carrier;
    this.#resumes = true;
    this.#trying = undefined;
    this.#failures.tcp = 0;
    if (carrier === 'verbs') this.#failures.verbs = 0;
    this.#choose();
    if (!this.#leads) return;
    // After a failure of verbs TCP carries on until the time has come.
    if (this.#verbsFailed !== null) this.#later('verbs');
    else this.#step();
  }

  #try(carrier: 'tcp' | 'verbs'): void {
    this.#attempt += 1;
    this.#trying = carrier;
    this.#endTryAfter(carrier, ATTEMPT_MS_MAX, 'the other host did not answer in time');
  }

  #endTryAfter(carrier: 'tcp' | 'verbs', ms: number, why: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#failed(carrier, why), ms);
    this.#timer.unref();
  }

  #attemptTo(carrier: 'tcp' | 'verbs', act: (connection: number) => void): void {
    try {
      act(this.#connection as number);
    } catch (error) {
      this.#failed(carrier, toShoalError(error).message);
    }
  }

  #tellAbility(): RdmaAbility {
    const rdma = this.#host.ability();
    this.#toldAddress = rdma.address;
    return rdma;
  }

  #rdmaAddress(): string {
    return this.#host.ability().address ?? this.#host.address;
  }

  #head(): { session: string; attempt: number } {
    return { session: this.#session as string, attempt: this.#attempt };
  }

  #isCurrent({ session, attempt }: { session: string; attempt: number }, trying: 'tcp' | 'verbs' | undefined): boolean {
    return (
      this.#leads &&
      session === this.#session &&
      attempt === this.#attempt &&
      trying !== undefined &&
      trying === this.#trying
    );
  }
}

/** A token or a secret. */
function randomHex(): string {
  return randomBytes(TOKEN_BYTES).toString('hex');
}
