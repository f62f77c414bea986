import { gammaTail } from './gamma-tail.js';
import { BINS, binTopMs, type LatencyBook } from './latency-book.js';
import { meanJobs, placeInQueue, UTILISATION_MAX, utilisationAfter } from './queue-law.js';
import { type Server, type Service, Serving, type Station, type StepResult } from './station.js';

/** Places in a queue that are told apart; behind them they get coarser by this factor. */
const PLACES = 64;
const COARSER = 1.1;
/** From here on a wait is told by the seconds of arrival and end; below, by the law of the queue. */
const LONG_SECONDS = 1.5;
/** Latencies less likely than this in one place are left out of its row. */
const RARE = 1e-9;

/**
 * A component's queue by formulas, a step at a time: the requests at the servers follow the balance of arrivals and
 * service (the pointwise-stationary fluid-flow approximation of Wang, Tipper & Banerjee, INFOCOM 1996, by implicit Euler
 * steps), their spread over the servers the law of two choices, and a latency is the sum of the services in front.
 */
export class FlowStation implements Station {
  readonly #service: Service;
  readonly #workers: number;
  readonly #targetMs: number;
  readonly #rows = new Map<number, Rows>();
  readonly #places = new Float64Array(PLACES + 1);
  readonly #stretch: number;
  #servers: readonly Server[] = [];
  #serving = new Serving([]);
  /** Requests that wait or run. */
  jobs = 0;
  #rho = 0;
  #failed = 0;
  /** Those that wait or run by the second in which they came, oldest first; `held`: while nobody served. */
  #line: { at: number; requests: number; held: boolean }[] = [];

  constructor(service: Service, workers: number, targetMs: number) {
    this.#service = service;
    this.#workers = workers;
    this.#targetMs = targetMs;
    this.#stretch = (1 + service.variation ** 2) / 2;
  }

  change(servers: readonly Server[], now: number): void {
    const serving = this.#servers.filter(({ leaving, readyAt }) => !leaving && readyAt <= now);
    const kept = new Set(servers.map(({ id }) => id));
    const died = serving.filter(({ id }) => !kept.has(id)).length;
    if (died > 0) {
      const lost = this.jobs * (died / serving.length);
      for (const each of this.#line) each.requests *= 1 - died / serving.length;
      this.jobs -= lost;
      this.#failed += lost;
    }
    this.#servers = servers;
    this.#serving = new Serving(servers);
  }

  step(from: number, seconds: number, arrived: number, book: LatencyBook): StepResult {
    const { count, cpu } = this.#serving.during(from, seconds);
    const done = this.serve(from, seconds, arrived, count, cpu, book);
    done.failed = this.#failed;
    this.#failed = 0;
    return done;
  }

  /** A step with so many instances of so many cores in all. */
  serve(from: number, seconds: number, arrived: number, instances: number, cpu: number, book: LatencyBook): StepResult {
    const before = this.jobs;
    if (!(instances > 0) || !(cpu > 0)) {
      if (arrived > 0) this.#line.push({ at: from + seconds / 2, requests: arrived, held: true });
      this.jobs += arrived;
      return result(0, 0, this.jobs, (before + this.jobs) / 2);
    }
    const servers = Math.max(1, instances * this.#workers);
    const speed = cpu / servers;
    const drain = (seconds * speed) / this.#service.cpuSeconds;
    const target = (before + arrived) / servers;
    const rho = utilisationAfter(servers, this.#stretch, drain, target, this.#rho);
    const busy = rho ?? 1;
    this.#rho = busy;
    this.jobs =
      rho === null ? servers * Math.max(0, target - drain) : servers * meanJobs(servers, this.#stretch, rho).jobs;
    const finished = Math.max(0, before + arrived - this.jobs);
    if (arrived > 0) this.#line.push({ at: from + seconds / 2, requests: arrived, held: false });
    this.#tell(from + seconds / 2, finished, arrived / seconds, servers, speed, rho, book);
    return result(finished, finished * this.#service.cpuSeconds, this.jobs, (before + this.jobs) / 2);
  }

  /** The state before a trial, to go back to. */
  save(): Saved {
    return { jobs: this.jobs, rho: this.#rho, line: this.#line.map((each) => ({ ...each })) };
  }

  restore({ jobs, rho, line }: Saved): void {
    this.jobs = jobs;
    this.#rho = rho;
    this.#line = line.map((each) => ({ ...each }));
  }

  #tell(
    at: number,
    finished: number,
    arrivalRate: number,
    servers: number,
    speed: number,
    rho: number | null,
    book: LatencyBook,
  ): void {
    const rest = this.#takeFromLine(at, finished, book);
    if (!(rest > 0)) return;
    const rows = this.#rowsOf(speed);
    if (rho === null) {
      // A backlog: what finishes now came as long ago as it takes to bring in the backlog (Little), or to work it off.
      const rate = Math.max(arrivalRate, (servers * speed) / this.#service.cpuSeconds);
      const waited = this.jobs / rate;
      const place = Math.max(1, (waited * speed) / this.#service.cpuSeconds);
      rows.add(place, rest, book);
      return;
    }
    const last = placeInQueue(servers, rho, this.#places);
    for (let place = 1; place < last; place += 1) rows.add(place, rest * (this.#places[place] as number), book);
    const beyond = rest * (this.#places[last] as number);
    const tail = last < PLACES ? last : PLACES - 1 + 1 / (1 - rho ** servers);
    rows.add(tail, beyond, book);
  }

  /** First come, first served. Who waited for long is told of by that; answers how many did not. */
  #takeFromLine(at: number, finished: number, book: LatencyBook): number {
    const line = this.#line;
    let left = finished;
    let prompt = 0;
    let gone = 0;
    while (left > 0) {
      const first = line[gone];
      if (first === undefined) break;
      const part = Math.min(left, first.requests);
      if (first.held || at - first.at > LONG_SECONDS) book.count((at - first.at) * 1000, part, this.#targetMs);
      else prompt += part;
      left -= part;
      first.requests -= part;
      if (first.requests <= 1e-9) gone += 1;
    }
    if (gone > 0) line.splice(0, gone);
    // Only rounding can leave any.
    return prompt + left;
  }

  #rowsOf(speed: number): Rows {
    const key = Math.round(speed * 1e4);
    let rows = this.#rows.get(key);
    if (rows === undefined) {
      rows = new Rows((this.#service.cpuSeconds * 1000) / (key / 1e4), this.#service.variation, this.#targetMs);
      this.#rows.set(key, rows);
    }
    return rows;
  }
}

interface Saved {
  jobs: number;
  rho: number;
  line: { at: number; requests: number; held: boolean }[];
}

function result(finished: number, cpuSeconds: number, outstanding: number, outstandingMean: number): StepResult {
  return { finished, failed: 0, cpuSeconds, outstanding, outstandingMean };
}

interface Row {
  first: number;
  /** Probabilities of bins `first` and on. */
  shares: Float64Array;
  over: number;
}

/** How latencies are spread for each place in the queue, at one speed. Made when first asked for. */
class Rows {
  readonly #serviceMs: number;
  readonly #variation: number;
  readonly #targetMs: number;
  readonly #rows: Row[] = [];

  constructor(serviceMs: number, variation: number, targetMs: number) {
    this.#serviceMs = serviceMs;
    this.#variation = variation;
    this.#targetMs = targetMs;
  }

  /** `place`: number at the server, the request itself included; between two rows, in parts. */
  add(place: number, requests: number, book: LatencyBook): void {
    const level = place <= PLACES ? place - 1 : PLACES - 1 + Math.log(place / PLACES) / Math.log(COARSER);
    const low = Math.floor(level);
    const part = level - low;
    this.#count(low, requests * (1 - part), book);
    if (part > 0) this.#count(low + 1, requests * part, book);
  }

  #count(level: number, requests: number, book: LatencyBook): void {
    const { first, shares, over } = this.#row(level);
    const { bins } = book;
    for (let i = 0; i < shares.length; i += 1) (bins[first + i] as number) += requests * (shares[i] as number);
    book.widen(first, first + shares.length - 1);
    book.requests += requests;
    book.over += requests * over;
  }

  #row(level: number): Row {
    let row = this.#rows[level];
    if (row === undefined) {
      row = this.#make(level < PLACES ? level + 1 : PLACES * COARSER ** (level - PLACES + 1));
      this.#rows[level] = row;
    }
    return row;
  }

  /** Two moments: the services in front, of which the first has partly been done, and its own, as a gamma. */
  #make(place: number): Row {
    const own = this.#variation ** 2;
    const stretch = (1 + own) / 2;
    const mean = this.#serviceMs * (1 + (place - 1) * stretch);
    const variance = this.#serviceMs ** 2 * Math.max(1e-4, own + (place - 1) * stretch ** 2);
    const shape = mean ** 2 / variance;
    const tails = Array.from({ length: BINS }, (_, bin) => gammaTail(shape, mean, binTopMs(bin)));
    const first = tails.findIndex((tail) => tail < 1 - RARE);
    const end = tails.findIndex((tail) => tail < RARE);
    const from = first < 0 ? BINS - 1 : first;
    const shares = new Float64Array((end < 0 ? BINS - 1 : end) - from + 1);
    for (let i = 0; i < shares.length; i += 1) {
      const above = from + i === 0 ? 1 : (tails[from + i - 1] as number);
      shares[i] = above - (tails[from + i] as number);
    }
    // The last bin holds all that is longer.
    if (end < 0) shares[shares.length - 1] = tails[BINS - 2] ?? 1;
    return { first: from, shares, over: gammaTail(shape, mean, this.#targetMs) };
  }
}

/**
 * Share of requests over the objective in balance, with so many instances of so many cores each; 1 where there is no
 * balance.
 */
export function overShareInBalance(
  service: Service,
  { workers, targetMs }: { workers: number; targetMs: number },
  instances: number,
  cpu: number,
  requestsPerSecond: number,
): number {
  const servers = Math.max(1, instances * workers);
  const speed = (instances * cpu) / servers;
  const rho = (requestsPerSecond * service.cpuSeconds) / (servers * speed);
  if (rho > UTILISATION_MAX) return 1;
  const places = new Float64Array(PLACES + 1);
  const last = placeInQueue(servers, rho, places);
  const stretch = (1 + service.variation ** 2) / 2;
  const serviceMs = (service.cpuSeconds * 1000) / speed;
  let over = 0;
  for (let place = 1; place <= last; place += 1) {
    const weight = places[place] as number;
    if (weight < RARE) continue;
    const mean = serviceMs * (1 + (place - 1) * stretch);
    const variance = serviceMs ** 2 * Math.max(1e-4, service.variation ** 2 + (place - 1) * stretch ** 2);
    over += weight * gammaTail(mean ** 2 / variance, mean, targetMs);
  }
  return over;
}
