import { gzipSync } from 'node:zlib';
import type { ProfileFunction, ProfileKind } from '../../protocol/profile.js';
import { Message } from '../protobuf.js';
import { type Shown, shownStacks } from './comparison.js';

/** Numbers of the fields, by profile.proto of github.com/google/pprof. */
const PROFILE = {
  sampleType: 1,
  sample: 2,
  mapping: 3,
  location: 4,
  function: 5,
  text: 6,
  timeNanoseconds: 9,
  durationNanoseconds: 10,
  periodType: 11,
  period: 12,
  comment: 13,
};
const VALUE_TYPE = { type: 1, unit: 2 };
const SAMPLE = { location: 1, value: 2 };
const MAPPING = { id: 1, filename: 5, hasFunctions: 7 };
const LOCATION = { id: 1, mapping: 2, line: 4 };
const LINE = { function: 1, line: 2 };
const FUNCTION = { id: 1, name: 2, systemName: 3, filename: 4 };

const TYPES: Record<ProfileKind, [count: string, time: string]> = {
  cpu: ['samples', 'cpu'],
  'off-cpu': ['waits', 'off-cpu'],
  'system-calls': ['calls', 'system-calls'],
  faults: ['faults', 'none'],
  peers: ['connections', 'connecting'],
  'block-io': ['operations', 'block-io'],
  keys: ['accesses', 'none'],
};
const NANOSECONDS = 1e9;

/** The profile as `go tool pprof` and others read it, gzipped. Compared with a base, values are what came in addition. */
export function encodePprof(shown: Shown): Buffer {
  const { profile, base } = shown;
  const texts = new Numbers<string>((text) => text);
  texts.of('');
  const files = new Numbers<string>((file) => file);
  const functions = new Numbers<ProfileFunction>(({ name, file }) => `${file}\0${name}`);
  const sources = new Map<number, string>();
  const locations = new Numbers<Location>(({ lines }) => lines.map((each) => `${each.function}:${each.line}`).join());
  const message = new Message();
  const valueType = (type: string, unit: string) =>
    new Message().int(VALUE_TYPE.type, texts.of(type)).int(VALUE_TYPE.unit, texts.of(unit));

  const [counted, timed] = TYPES[profile.kind];
  message.message(PROFILE.sampleType, valueType(counted, 'count'));
  message.message(PROFILE.sampleType, valueType(timed, 'nanoseconds'));
  for (const { frames, count, baseCount, seconds, baseSeconds } of shownStacks(shown)) {
    const nanoseconds = Math.round((seconds - baseSeconds) * NANOSECONDS);
    const numbers = locationsOf(frames, functions, sources).map((each) => locations.of(each) + 1);
    const sample = new Message().ints(SAMPLE.location, numbers);
    message.message(PROFILE.sample, sample.ints(SAMPLE.value, [Math.round(count - baseCount), nanoseconds]));
  }
  // Ids begin with 1.
  for (const [place, { file, lines }] of locations.all.entries()) {
    const location = new Message().int(LOCATION.id, place + 1).int(LOCATION.mapping, files.of(file) + 1);
    for (const each of lines) {
      const line = new Message().int(LINE.function, each.function + 1).int(LINE.line, each.line);
      location.message(LOCATION.line, line);
    }
    message.message(PROFILE.location, location);
  }
  for (const [place, { name }] of functions.all.entries()) {
    const named = new Message().int(FUNCTION.id, place + 1).int(FUNCTION.name, texts.of(name));
    named.int(FUNCTION.systemName, texts.of(name)).int(FUNCTION.filename, texts.of(sources.get(place) ?? ''));
    message.message(PROFILE.function, named);
  }
  for (const [place, file] of files.all.entries()) {
    const mapping = new Message().int(MAPPING.id, place + 1).int(MAPPING.filename, texts.of(file));
    message.message(PROFILE.mapping, mapping.int(MAPPING.hasFunctions, 1));
  }
  message.int(PROFILE.timeNanoseconds, profile.fromMs * 1e6);
  message.int(PROFILE.durationNanoseconds, (profile.toMs - profile.fromMs) * 1e6);
  message.message(PROFILE.periodType, valueType(timed, 'nanoseconds'));
  if (profile.kind === 'cpu') message.int(PROFILE.period, Math.round(NANOSECONDS / profile.hertz));
  if (profile.lost > 0) message.int(PROFILE.comment, texts.of(`${profile.lost} samples were lost`));
  for (const note of profile.notes ?? []) message.int(PROFILE.comment, texts.of(note));
  if (base !== null) message.int(PROFILE.comment, texts.of('values are in addition to those of another span'));
  message.texts(PROFILE.text, texts.all);
  return gzipSync(message.encode());
}

/** A place in a program: the function there, before it those that were inlined into it, innermost first. */
interface Location {
  file: string;
  lines: { function: number; line: number }[];
}

/** The frames of a stack by place. Where source files come to light they are noted by the function's number. */
function locationsOf(
  frames: readonly ProfileFunction[],
  functions: Numbers<ProfileFunction>,
  sources: Map<number, string>,
): Location[] {
  const found: Location[] = [];
  let callee: ProfileFunction | undefined;
  for (const frame of frames) {
    const number = functions.of(frame);
    // Where the function is that was inlined, else what the name says.
    const source = callee?.calledAt === undefined ? sourceOfName(frame.name) : sourceOf(callee.calledAt);
    if (source.file !== '' && !sources.has(number)) sources.set(number, source.file);
    const line = { function: number, line: source.line };
    if (callee?.calledAt === undefined) found.push({ file: frame.file, lines: [line] });
    else found.at(-1)?.lines.push(line);
    callee = frame;
  }
  return found;
}

/** JavaScript's names end with their place: `work /app/x.js:3`. */
function sourceOfName(name: string): { file: string; line: number } {
  return sourceOf(/ (\S+)$/.exec(name)?.[1] ?? '');
}

/** Of a place such as `/src/x.c:12`. */
function sourceOf(place: string): { file: string; line: number } {
  const [, file = '', line = '0'] = /^(.+):(\d{1,9})$/.exec(place) ?? [];
  return { file, line: Number(line) };
}

/** Numbers things in the order in which they come. */
class Numbers<T> {
  readonly all: T[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(private readonly keyOf: (value: T) => string) {}

  of(value: T): number {
    const key = this.keyOf(value);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.all.length;
      this.#numbers.set(key, number);
      this.all.push(value);
    }
    return number;
  }
}
