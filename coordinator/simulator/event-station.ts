import { gamma } from './dice.js';
import type { LatencyBook } from './latency-book.js';
import type { Server, Service, Station, StepResult } from './station.js';

/** A request at an instance. Times in seconds. */
interface Running {
  arrivedAt: number;
  startsAt: number;
  endsAt: number;
}

/** An instance that serves first come, first served. */
interface Place {
  server: Server;
  /** In the order of their ends; those before `head` have ended and wait to be told of. */
  running: Running[];
  head: number;
  /** When each worker is free. */
  freeAt: number[];
}

/**
 * A component's queue request by request. Each goes to the less loaded of two instances chosen at random, as the SDK
 * does, and is served in the order of arrival. Sizes change between steps only, so that within a step the end of a
 * request is known when it arrives.
 */
export class EventStation implements Station {
  readonly #service: Service;
  readonly #workers: number;
  readonly #targetMs: number;
  readonly #random: () => number;
  readonly #shape: number;
  #places: Place[] = [];
  /** Requests that came while nobody served: their times. */
  #held: number[] = [];
  #failed = 0;

  constructor(service: Service, workers: number, targetMs: number, random: () => number) {
    this.#service = service;
    this.#workers = workers;
    this.#targetMs = targetMs;
    this.#random = random;
    this.#shape = service.variation === 0 ? Number.POSITIVE_INFINITY : 1 / service.variation ** 2;
  }

  change(servers: readonly Server[], now: number): void {
    const before = new Map(this.#places.map((place) => [place.server.id, place]));
    this.#places = servers.map((server) => {
      const place = before.get(server.id);
      before.delete(server.id);
      if (place === undefined)
        return { server, running: [], head: 0, freeAt: Array.from({ length: this.#workers }, () => server.readyAt) };
      if (place.server.cpu !== server.cpu) rescale(place, server.cpu, now);
      place.server = server;
      return place;
    });
    for (const gone of before.values()) {
      const rest = gone.running.length - gone.head;
      if (rest === 0) continue;
      // Who was told to leave ends what it has; who died does not.
      if (gone.server.leaving) this.#places.push(gone);
      else this.#failed += rest;
    }
  }

  step(from: number, seconds: number, arrived: number, book: LatencyBook): StepResult {
    const to = from + seconds;
    const times = new Float64Array(arrived);
    for (let i = 0; i < arrived; i += 1) times[i] = from + seconds * this.#random();
    times.sort();
    const open = this.#places.filter(({ server }) => !server.leaving && server.readyAt < to);
    const ready = open.reduce((first, { server }) => Math.min(first, server.readyAt), Number.POSITIVE_INFINITY);
    let waited = 0;
    if (open.length > 0) {
      for (const at of this.#held) {
        this.#admit(at, Math.max(from, ready), open);
        waited += Math.max(0, Math.max(from, ready) - from);
      }
      this.#held = [];
      for (const at of times) this.#admit(at, Math.max(at, ready), open);
    } else {
      this.#held.push(...times);
      for (const at of this.#held) waited += to - Math.max(from, at);
    }
    const sum: StepResult = {
      finished: 0,
      failed: this.#failed,
      cpuSeconds: 0,
      outstanding: this.#held.length,
      outstandingMean: waited / seconds,
    };
    this.#failed = 0;
    for (const place of this.#places) this.#tell(place, from, to, sum, book);
    return sum;
  }

  #admit(arrivedAt: number, now: number, open: readonly Place[]): void {
    const one = open[Math.floor(this.#random() * open.length)] as Place;
    let chosen = one;
    if (open.length > 1) {
      // Another one, each as likely.
      const index = Math.floor(this.#random() * (open.length - 1));
      const other = open[open[index] === one ? open.length - 1 : index] as Place;
      if (loadOf(other, now) < loadOf(one, now)) chosen = other;
    }
    const worker = chosen.freeAt.indexOf(Math.min(...chosen.freeAt));
    const startsAt = Math.max(now, chosen.freeAt[worker] ?? now);
    const speed = chosen.server.cpu / this.#workers;
    const endsAt = startsAt + (this.#service.cpuSeconds * gamma(this.#shape, this.#random)) / speed;
    chosen.freeAt[worker] = endsAt;
    const { running } = chosen;
    let at = running.length;
    while (at > chosen.head && (running[at - 1] as Running).endsAt > endsAt) at -= 1;
    if (at === running.length) running.push({ arrivedAt, startsAt, endsAt });
    else running.splice(at, 0, { arrivedAt, startsAt, endsAt });
  }

  /** Counts what a place did from `from` to `to`, and forgets what has ended. */
  #tell(place: Place, from: number, to: number, sum: StepResult, book: LatencyBook): void {
    const speed = place.server.cpu / this.#workers;
    let ended = 0;
    for (const { arrivedAt, startsAt, endsAt } of place.running) {
      sum.outstandingMean += Math.max(0, Math.min(to, endsAt) - Math.max(from, arrivedAt)) / (to - from);
      sum.cpuSeconds += Math.max(0, Math.min(to, endsAt) - Math.max(from, startsAt)) * speed;
      if (endsAt > to) continue;
      ended += 1;
      book.count((endsAt - arrivedAt) * 1000, 1, this.#targetMs);
    }
    sum.finished += ended;
    place.running.splice(0, ended);
    place.head = 0;
    sum.outstanding += place.running.length;
  }
}

/** Requests that run or wait there; notes on the way what has ended, which is asked in the order of time. */
function loadOf(place: Place, now: number): number {
  const { running } = place;
  while (place.head < running.length && (running[place.head] as Running).endsAt <= now) place.head += 1;
  return running.length - place.head;
}

/** What is still to be done takes longer or shorter in proportion. */
function rescale(place: Place, cpu: number, now: number): void {
  const from = Math.max(now, place.server.readyAt);
  const factor = place.server.cpu / cpu;
  const scaled = (at: number) => (at > from ? from + (at - from) * factor : at);
  for (const each of place.running) {
    each.startsAt = scaled(each.startsAt);
    each.endsAt = scaled(each.endsAt);
  }
  place.freeAt = place.freeAt.map(scaled);
}
