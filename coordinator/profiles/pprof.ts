import { gzipSync } from 'node:zlib';
import type { ProfileFunction, ProfileKind } from '../../protocol/profile.js';
import { type Shown, shownStacks } from './comparison.js';
import { ProtobufWriter } from './protobuf.js';

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
};
const NANOSECONDS = 1e9;

/** The profile as `go tool pprof` and others read it, gzipped. Compared with a base, values are what came in addition. */
export function encodePprof(shown: Shown): Buffer {
  const { profile, base } = shown;
  const texts = new Numbers<string>((text) => text);
  texts.of('');
  const files = new Numbers<string>((file) => file);
  const functions = new Numbers<ProfileFunction>(({ name, file }) => `${file}\0${name}`);
  const writer = new ProtobufWriter();
  const valueType = (field: number, type: string, unit: string) =>
    writer.message(field, (inner) => {
      inner.number(VALUE_TYPE.type, texts.of(type));
      inner.number(VALUE_TYPE.unit, texts.of(unit));
    });

  const [counted, timed] = TYPES[profile.kind];
  valueType(PROFILE.sampleType, counted, 'count');
  valueType(PROFILE.sampleType, timed, 'nanoseconds');
  for (const { frames, count, baseCount, seconds, baseSeconds } of shownStacks(shown)) {
    writer.message(PROFILE.sample, (inner) => {
      // Ids begin with 1.
      inner.numbers(
        SAMPLE.location,
        frames.map((each) => functions.of(each) + 1),
      );
      const nanoseconds = Math.round((seconds - baseSeconds) * NANOSECONDS);
      inner.numbers(SAMPLE.value, [Math.round(count - baseCount), nanoseconds]);
    });
  }
  for (const [place, { name, file }] of functions.all.entries()) {
    const source = sourceOf(name);
    writer.message(PROFILE.location, (inner) => {
      inner.number(LOCATION.id, place + 1);
      inner.number(LOCATION.mapping, files.of(file) + 1);
      inner.message(LOCATION.line, (line) => {
        line.number(LINE.function, place + 1);
        line.number(LINE.line, source.line);
      });
    });
    writer.message(PROFILE.function, (inner) => {
      inner.number(FUNCTION.id, place + 1);
      inner.number(FUNCTION.name, texts.of(name));
      inner.number(FUNCTION.systemName, texts.of(name));
      inner.number(FUNCTION.filename, texts.of(source.file));
    });
  }
  for (const [place, file] of files.all.entries()) {
    writer.message(PROFILE.mapping, (inner) => {
      inner.number(MAPPING.id, place + 1);
      inner.number(MAPPING.filename, texts.of(file));
      inner.number(MAPPING.hasFunctions, 1);
    });
  }
  writer.number(PROFILE.timeNanoseconds, profile.fromMs * 1e6);
  writer.number(PROFILE.durationNanoseconds, (profile.toMs - profile.fromMs) * 1e6);
  valueType(PROFILE.periodType, timed, 'nanoseconds');
  if (profile.kind === 'cpu') writer.number(PROFILE.period, Math.round(NANOSECONDS / profile.hertz));
  if (profile.lost > 0) writer.number(PROFILE.comment, texts.of(`${profile.lost} samples were lost`));
  if (base !== null) writer.number(PROFILE.comment, texts.of('values are in addition to those of another span'));
  for (const text of texts.all) writer.text(PROFILE.text, text);
  return gzipSync(writer.finish());
}

/** JavaScript's names end with their place: `work /app/x.js:3`. */
function sourceOf(name: string): { file: string; line: number } {
  const [, file = '', line = '0'] = / (\S+):(\d{1,9})$/.exec(name) ?? [];
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
