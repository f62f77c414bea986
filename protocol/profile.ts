import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/**
 * Where time went: on a CPU, waiting off it, in system calls; and what was counted: page faults by the mapping they hit,
 * connections and segments sent again by peer, block I/O by how long it took, reads and writes of state by key.
 */
export const PROFILE_KINDS = ['cpu', 'off-cpu', 'system-calls', 'faults', 'peers', 'block-io', 'keys'] as const;
export type ProfileKind = (typeof PROFILE_KINDS)[number];

export interface ProfileFunction {
  name: string;
  /** The file that holds it: `libc.so.6`, `[kernel]`, `[jit]`. */
  file: string;
  /** Of one that the compiler has put into the function that comes after it in a stack: where, as `/src/x.c:12`. */
  calledAt?: string;
}

export interface ProfileStack {
  /** Places in the list of functions, leaf first. */
  frames: number[];
  /** Samples, or waits. */
  count: number;
  seconds: number;
}

/** What a component did in a span of time, added up over its instances. */
export interface Profile {
  kind: ProfileKind;
  /** Ms since the epoch. */
  fromMs: number;
  toMs: number;
  /** Samples each second of CPU time. */
  hertz: number;
  /** Samples for which the hosts had no place. */
  lost: number;
  /** What a reader has to know of it besides; absent: nothing. */
  notes?: string[];
  functions: ProfileFunction[];
  stacks: ProfileStack[];
}

/** What an agent is asked for. */
export interface ProfileRequest {
  app: string;
  component: string;
  kind: ProfileKind;
  fromMs: number;
  toMs: number;
}

/** Stands for the stacks of which there were too many to keep each. */
export const REST: ProfileFunction = { name: '[rest]', file: '[rest]' };

type Part = Pick<Profile, 'functions' | 'stacks' | 'notes'>;

/**
 * Adds profiles up: the same functions one after the other are the same stack, whatever addresses they had. It goes over
 * thousands of frames a second on each host, so it makes few strings and objects that it does not keep.
 */
export class ProfileSum {
  /** Places in the list of functions, by file and, within it, by name. */
  readonly #numbers = new Map<string, Map<string, number>>();
  readonly #functions: ProfileFunction[] = [];
  /** By the hash of their frames. */
  readonly #stacks = new Map<number, ProfileStack[]>();
  readonly #notes = new Set<string>();

  add({ functions, stacks, notes = [] }: Part): void {
    for (const each of notes) if (this.#notes.size < LIMITS.profileNotesMax) this.#notes.add(each);
    // Of the functions of a whole host a component has a few; 0: not met yet.
    const numbers = new Uint32Array(functions.length);
    for (const { frames, count, seconds } of stacks) {
      const own = new Array<number>(frames.length);
      for (let i = 0; i < frames.length; i += 1) {
        const place = frames[i] as number;
        let number = numbers[place] as number;
        if (number === 0) {
          number = this.#number(functions[place] as ProfileFunction) + 1;
          numbers[place] = number;
        }
        own[i] = number - 1;
      }
      this.#addStack(own, count, seconds);
    }
  }

  /**
   * The heaviest stacks as they are, and the others as one, within the bounds of what is kept and sent. The sum is the
   * profile's from then on: nothing is to be added.
   */
  profile(head: Omit<Profile, 'functions' | 'stacks' | 'notes'>, stacksMax: number = LIMITS.profileStacksMax): Profile {
    const heaviest = this.#allStacks().sort((a, b) => b.seconds - a.seconds || b.count - a.count);
    const notes = this.#notes.size === 0 ? {} : { notes: [...this.#notes] };
    const isWhole = heaviest.length <= stacksMax && this.#bytesMax() <= LIMITS.profileBytesMax;
    const { functions, stacks } = isWhole
      ? { functions: this.#functions, stacks: heaviest }
      : this.#cut(heaviest, stacksMax);
    return { ...head, ...notes, functions, stacks };
  }

  /** What a profile of all of it takes at most. */
  #bytesMax(): number {
    let sum = 0;
    for (let place = 0; place < this.#functions.length; place += 1) sum += this.#bytes(place);
    for (const { frames } of this.#allStacks()) sum += FRAME_BYTES * frames.length;
    return sum;
  }

  #cut(heaviest: readonly ProfileStack[], stacksMax: number): Pick<Profile, 'functions' | 'stacks'> {
    const sum = new ProfileSum();
    let room = LIMITS.profileBytesMax;
    const rest = { count: 0, seconds: 0 };
    for (const [place, { frames, count, seconds }] of heaviest.entries()) {
      // Whatever it holds is counted as if it were new: a bound, not the size itself.
      for (const each of frames)
        room -= FRAME_BYTES + (sum.#placeOf(this.#functions[each]) !== undefined ? 0 : this.#bytes(each));
      if (place >= stacksMax || room < 0) {
        rest.count += count;
        rest.seconds += seconds;
        continue;
      }
      const numbers = frames.map((each) => sum.#number(this.#functions[each] as ProfileFunction));
      sum.#addStack(numbers, count, seconds);
    }
    if (rest.count > 0) sum.#addStack([sum.#number(REST)], rest.count, rest.seconds);
    return { functions: sum.#functions, stacks: sum.#allStacks() };
  }

  #allStacks(): ProfileStack[] {
    return [...this.#stacks.values()].flat();
  }

  #addStack(frames: number[], count: number, seconds: number): void {
    const hash = hashOf(frames);
    const alike = this.#stacks.get(hash);
    const known = alike?.find((each) => isSame(each.frames, frames));
    if (known !== undefined) {
      known.count += count;
      known.seconds += seconds;
      return;
    }
    const stack = { frames, count, seconds };
    if (alike === undefined) this.#stacks.set(hash, [stack]);
    else alike.push(stack);
  }

  #number(each: ProfileFunction): number {
    const known = this.#placeOf(each);
    if (known !== undefined) return known;
    const number = this.#functions.length;
    const { name, file, calledAt } = each;
    this.#functions.push(calledAt === undefined ? { name, file } : { name, file, calledAt });
    const ofFile = this.#numbers.get(file) ?? new Map<string, number>();
    this.#numbers.set(file, ofFile.set(nameOf(each), number));
    return number;
  }

  #placeOf(each: ProfileFunction | undefined): number | undefined {
    return each && this.#numbers.get(each.file)?.get(nameOf(each));
  }

  #bytes(place: number): number {
    const { name = '', file = '', calledAt = '' } = this.#functions[place] ?? {};
    return 4 * (name.length + file.length + calledAt.length) + FRAME_BYTES;
  }
}

/** Of a number in a frame on the wire, and more. */
const FRAME_BYTES = 5;

/** FNV-1a over 32 bits, a number at a time; what has the same hash is compared. */
function hashOf(frames: readonly number[]): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < frames.length; i += 1) hash = Math.imul(hash ^ (frames[i] as number), 0x01000193);
  return hash;
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i += 1) if (one[i] !== other[i]) return false;
  return true;
}

/** Within its file: one that was inlined at two places is two. */
function nameOf({ name, calledAt }: ProfileFunction): string {
  return calledAt === undefined ? name : `${name}\0${calledAt}`;
}

/** Tells functions apart, and one that was inlined at two places. */
export function keyOf({ name, file, calledAt = '' }: ProfileFunction): string {
  return `${file}\0${name}\0${calledAt}`;
}

/** One profile of several; the head is that of the sum. */
export function mergeProfiles(
  profiles: readonly Part[],
  head: Omit<Profile, 'functions' | 'stacks' | 'notes'>,
): Profile {
  const sum = new ProfileSum();
  for (const each of profiles) sum.add(each);
  return sum.profile(head);
}

/** A profile from outside of this process, checked in all its parts. Throws SHOAL_E_FRAME. */
export function readProfile(value: unknown): Profile {
  const given = record(value, 'a profile');
  const kind = PROFILE_KINDS.find((each) => each === given.kind);
  if (kind === undefined) throw broken('a kind that is none');
  const functions = list(given.functions, LIMITS.profileFunctionsMax, 'functions').map((each) => {
    const { name, file, calledAt } = record(each, 'a function');
    const plain = { name: text(name), file: text(file) };
    return calledAt === undefined ? plain : { ...plain, calledAt: text(calledAt) };
  });
  const stacks = list(given.stacks, LIMITS.profileStacksMax + 1, 'stacks').map((each) => {
    const { frames, count, seconds } = record(each, 'a stack');
    const places = list(frames, LIMITS.profileFramesMax, 'frames').map((place) => {
      if (!Number.isInteger(place) || (place as number) < 0 || (place as number) >= functions.length)
        throw broken('a frame that is no function of it');
      return place as number;
    });
    return { frames: places, count: amount(count, 'a count'), seconds: amount(seconds, 'seconds') };
  });
  const notes = given.notes === undefined ? [] : list(given.notes, LIMITS.profileNotesMax, 'notes').map(text);
  const [fromMs, toMs] = [amount(given.fromMs, 'a beginning'), amount(given.toMs, 'an end')];
  return {
    kind,
    fromMs,
    toMs,
    hertz: amount(given.hertz, 'a rate'),
    lost: amount(given.lost, 'lost samples'),
    ...(notes.length === 0 ? {} : { notes }),
    functions,
    stacks,
  };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw broken(`${what} that is none`);
}

function list(value: unknown, max: number, what: string): unknown[] {
  if (Array.isArray(value) && value.length <= max) return value;
  throw broken(`no list of at most ${max} ${what}`);
}

function text(value: unknown): string {
  if (typeof value === 'string' && value.length <= LIMITS.profileNameLengthMax) return value;
  throw broken(`a name that is no text of at most ${LIMITS.profileNameLengthMax} characters`);
}

function amount(value: unknown, what: string): number {
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return value;
  throw broken(`${what} that is no amount`);
}

function broken(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `a profile has ${what}`);
}
