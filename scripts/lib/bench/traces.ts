import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A real series of demand, one value a step. */
export interface Trace {
  name: string;
  /** Of the first row. */
  startSeconds: number;
  stepSeconds: number;
  /** Null where the file has no row for a step. */
  values: (number | null)[];
}

/** Where the traces are: the folder that SHOAL_TRACES names, which `scripts/bench NAME --traces DIR` sets. */
export const TRACES_ASKED =
  'this benchmark reads traces: name their folder, as in scripts/bench brain-online --traces DIR, or in SHOAL_TRACES. ' +
  'It takes all CSV files there whose first line is time,value';

/** All files of rows `time,value` in a folder, in the order of their names. Throws with what is missing. */
export function readTraces(folder: string | undefined): Trace[] {
  if (folder === undefined || folder === '') throw new Error(TRACES_ASKED);
  const files = readdirSync(folder).filter((file) => file.endsWith('.csv'));
  const traces = files.toSorted().flatMap((file) => {
    const [head, ...lines] = readFileSync(join(folder, file), 'utf8').trim().split('\n');
    return head?.trim() === 'time,value' ? [parse(file, lines)] : [];
  });
  if (traces.length === 0) throw new Error(`no traces in ${folder}: ${TRACES_ASKED}`);
  return traces;
}

function parse(file: string, lines: readonly string[]): Trace {
  const rows = lines.map((line, i) => {
    const [time, value] = line.split(',').map(Number);
    if (time === undefined || value === undefined || !Number.isFinite(time + value))
      throw new Error(`${file}:${i + 2}: not a row of time,value: ${line}`);
    return { time, value };
  });
  const [first, second] = rows;
  if (first === undefined || second === undefined) throw new Error(`${file}: fewer than two rows`);
  const stepSeconds = second.time - first.time;
  if (!(stepSeconds > 0)) throw new Error(`${file}:3: times must rise`);
  const values: (number | null)[] = [];
  for (const { time, value } of rows) {
    const step = Math.round((time - first.time) / stepSeconds);
    while (values.length < step) values.push(null);
    values[step] = value;
  }
  return { name: file.replace('.csv', ''), startSeconds: first.time, stepSeconds, values };
}
