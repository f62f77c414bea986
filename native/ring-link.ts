import { type ShoalError, toShoalError } from '../protocol/errors.js';
import { native } from './index.js';
import { Ring, RingConsumer, RingProducer } from './ring.js';
import type { ChannelFds, ChannelHandle } from './types.js';

/** How long a spin may last: what it takes the other end to be woken by the kernel and to answer. */
export const SPIN_MS_MAX = 0.05;
const LOOKS_PER_TURN = 32;
/** Of so many waits that are slept one is spun all the same, to see whether that would pay by now. */
const WAITS_PER_PROBE = 16;
/** Records taken before their room is given back and promises have their turn. */
const RECORDS_PER_TURN = 64;
/** Turns before timers and sockets have theirs. */
const TURNS_PER_LOOP = 64;

const resolved = Promise.resolve();

/** As a microtask; Node's queueMicrotask makes a resource for each, which costs more than a record. */
function soon(turn: () => void): void {
  void resolved.then(turn);
}

export interface RingLinkEvents {
  /** A record at `bytes[offset]`; borrowed until this returns. What it throws closes the link. */
  onRecord(bytes: Uint8Array, offset: number, length: number, more: boolean): void;
  /** There is room again after send() said that there was none. */
  onRoom(): void;
  /** Once: the peer is gone (no error), or broke the ring. */
  onClose(error: ShoalError | undefined): void;
}

/**
 * One end of a channel on the event loop. Awake, it takes records without a native call; it stays awake, spinning, while
 * the next one has been coming sooner than a wake-up would take, and else sleeps until the bell is struck. Two ends that
 * both sleep would never see how soon the other could answer: therefore now and then one spins to find out. A spin is
 * a row of turns, so that all links of a process spin and work side by side.
 */
export class RingLink {
  readonly lengthMax: number;
  readonly #events: RingLinkEvents;
  readonly #handle: ChannelHandle;
  readonly #out: RingProducer;
  readonly #in: RingConsumer;
  readonly #spinMsMax: number;
  readonly #turn = () => this.#takeTurn();
  /** Moving average of how long there was nothing to do. */
  #waitMs = 0;
  #waitBegan = 0;
  #waiting = false;
  #spinning = false;
  #waits = 0;
  #turns = 0;
  #asleep = false;
  #paused = false;
  /** No turn comes before resume(). */
  #parked = false;
  #wanted = -1;
  #gone = false;
  #closed = false;

  /** Takes the descriptors over. `side` 0 sends on ring 0, side 1 on ring 1. */
  constructor(fds: ChannelFds, side: 0 | 1, events: RingLinkEvents, spinMsMax = SPIN_MS_MAX) {
    this.#events = events;
    this.#spinMsMax = spinMsMax;
    this.#handle = native.openChannel(fds, (gone) => this.#onBell(gone));
    const { buffer, ringBytes } = this.#handle;
    this.#out = new RingProducer(new Ring(buffer, ringBytes, side));
    this.#in = new RingConsumer(new Ring(buffer, ringBytes, side === 0 ? 1 : 0));
    this.lengthMax = this.#out.lengthMax;
    soon(this.#turn);
  }

  /** Sends a copy; false when there is no room: then onRoom() follows. Nothing is sent after the end. */
  send(record: Uint8Array, more = false): boolean {
    if (this.#closed) return false;
    try {
      const offset = this.#out.loan(record.length);
      if (offset < 0) return this.#waitForRoom(record.length) ? false : this.send(record, more);
      this.#out.bytes.set(record, offset);
      this.#out.commit(record.length, more);
      if (this.#out.publish()) this.#handle.strike();
      return true;
    } catch (error) {
      if (error instanceof RangeError) throw error;
      this.#end(toShoalError(error));
      return false;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }

  /** Takes no more records, which then fill the ring until the peer has to wait. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (!this.#parked) return;
    this.#parked = false;
    soon(this.#turn);
  }

  #waitForRoom(length: number): boolean {
    if (!this.#out.announceWait(length)) return false;
    this.#wanted = length;
    return true;
  }

  #onBell(gone: boolean): void {
    this.#gone = this.#gone || gone;
    if (this.#closed) return;
    if (this.#wanted >= 0 && !gone) this.#tellRoom();
    // With the peer gone nothing that is sent arrives, thus there is nothing to wait for.
    if (gone) this.resume();
    if (!this.#asleep || this.#closed) return;
    this.#asleep = false;
    this.#in.cancelSleep();
    this.#takeTurn();
  }

  #tellRoom(): void {
    const wanted = this.#wanted;
    this.#wanted = -1;
    try {
      if (this.#waitForRoom(wanted)) return;
      this.#events.onRoom();
    } catch (error) {
      this.#end(toShoalError(error));
    }
  }

  /** Runs in the event loop or as a microtask: promises that a record resolved have run before the next turn. */
  #takeTurn(): void {
    if (this.#closed) return;
    if (this.#paused && !this.#gone) {
      this.#parked = true;
      return;
    }
    try {
      if (this.#in.ready() || this.#stayAwake()) {
        if (this.#in.ready()) this.#take();
      } else if (this.#gone) {
        this.#end(undefined);
        return;
      } else if (this.#in.announceSleep()) {
        this.#asleep = true;
        this.#turns = 0;
        return;
      }
    } catch (error) {
      this.#end(toShoalError(error));
      return;
    }
    this.#turns += 1;
    if (this.#turns % TURNS_PER_LOOP === 0) setImmediate(this.#turn);
    else soon(this.#turn);
  }

  #take(): void {
    if (this.#waiting) this.#endWait();
    const records = this.#in;
    for (let i = 0; i < RECORDS_PER_TURN && !this.#closed && !this.#paused && records.next(); i += 1)
      this.#events.onRecord(records.bytes, records.offset, records.length, records.more);
    if (!this.#closed && records.release()) this.#handle.strike();
  }

  /** There is nothing to take: false when it is time to sleep. Looks for a moment, and lets others have their turn. */
  #stayAwake(): boolean {
    const now = performance.now();
    if (!this.#waiting) {
      this.#waiting = true;
      this.#waitBegan = now;
      this.#waits += 1;
      this.#spinning = this.#waitMs < this.#spinMsMax || this.#waits % WAITS_PER_PROBE === 0;
    }
    if (!this.#spinning || this.#gone || now - this.#waitBegan >= this.#spinMsMax) {
      this.#spinning = false;
      return false;
    }
    for (let i = 0; i < LOOKS_PER_TURN && !this.#in.ready(); i += 1);
    return true;
  }

  /** A long idle time counts as four times the bound, so that a busy time after it is noticed soon. */
  #endWait(): void {
    const ms = performance.now() - this.#waitBegan;
    this.#waiting = false;
    // What a spin has seen says more than waits that were slept, with the time that waking took.
    if (this.#spinning && this.#waitMs >= this.#spinMsMax) this.#waitMs = ms;
    else this.#waitMs += (Math.min(ms, 4 * this.#spinMsMax) - this.#waitMs) / 8;
  }

  #end(error: ShoalError | undefined): void {
    if (this.#closed) return;
    this.close();
    this.#events.onClose(error);
  }
}
