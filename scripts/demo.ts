import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderTop, type TopView } from '../cli/render/top.js';
import type { ComponentView, EventView, HostView, InstanceView } from '../protocol/http.js';
import { toUserForm } from '../protocol/manifest-format.js';
import { parseManifest, resolveDirectories } from '../protocol/manifest-parse.js';
import { pause } from '../protocol/pause.js';
import { Cluster, freePort } from './lib/demo/cluster.js';
import { findTexts, grepCount } from './lib/demo/corpus.js';
import { Load } from './lib/demo/load.js';
import { decisionToServing, Recorder } from './lib/demo/recorder.js';
import { faultsOf, renderReport } from './lib/demo/report.js';
import { readDay, shareAt } from './lib/demo/trace.js';
import { readWords, refuse } from './lib/words.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const EXAMPLE = join(ROOT, 'examples/search');
const USAGE = `usage: scripts/demo [--trace FILE] [--days N] [--day-seconds N] [--peak N]
Runs the search example under a day's load, compressed, and shows how it is reshaped. Exit code 0: it worked.
  --trace FILE      CSV of time (seconds), value; its busiest day is taken (default examples/search/day.csv)
  --days N          how often the day is repeated (default 2)
  --day-seconds N   length of the compressed day (default 75)
  --peak N          requests per second at the peak (default 300)`;
const FEED_AT_ONCE = 16;
const READY_MS_MAX = 60_000;
const COMPARE_EVERY_MS = 5_000;
const VIEW_EVERY_MS = 1_000;
const PLAIN_EVERY = 5;

const { values } = readWords(USAGE, {
  options: {
    trace: { type: 'string', default: join(EXAMPLE, 'day.csv') },
    days: { type: 'string', default: '2' },
    'day-seconds': { type: 'string', default: '75' },
    peak: { type: 'string', default: '300' },
    help: { type: 'boolean', default: false },
  },
});

function positive(name: 'days' | 'day-seconds' | 'peak', max: number): number {
  const value = Number(values[name]);
  if (value > 0 && value <= max) return value;
  return refuse(USAGE, `--${name} must be a number above 0 and at most ${max}, not ${values[name]}`);
}

const say = (text: string) => process.stdout.write(`${text}\n`);
const stopping = new AbortController();

async function main(): Promise<number> {
  const days = positive('days', 100);
  const daySeconds = positive('day-seconds', 86_400);
  const peak = positive('peak', 100_000);
  const day = readDay(await readFile(values.trace, 'utf8'), values.trace);
  const texts = await findTexts(join(ROOT, 'node_modules'));
  say(`demo: ${texts.length} texts of the packages in node_modules`);

  const cluster = await Cluster.start(join(ROOT, 'dist/cli/main.js'));
  try {
    const port = await freePort();
    await applyExample(cluster, port, daySeconds);
    say(`demo: coordinator at ${cluster.server}, search at http://127.0.0.1:${port}`);
    const base = `http://127.0.0.1:${port}`;
    await feed(base, texts);
    const words = await commonWords(texts);

    const load = new Load(
      () => `${base}/search?q=${pick(words)}`,
      (elapsedMs) => peak * shareAt(day, elapsedMs / 1000 / daySeconds),
    );
    const recorder = new Recorder();
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, stopping.signal]);
    const compared: string[] = [];
    const different: string[] = [];
    const watching = watch(cluster, recorder, load, signal);
    const comparing = compare(base, texts, words, compared, different, signal);
    await Promise.race([load.run(days * daySeconds * 1000), aborted(stopping.signal)]);
    over.abort();
    await Promise.all([watching, comparing]);
    if (stopping.signal.aborted) return 130;

    const events = await cluster.get<EventView[]>('/v1/events');
    const { documents } = (await (await fetch(`${base}/size`)).json()) as { documents: number };
    const outcome = {
      documents: texts.length,
      documentsAtEnd: documents,
      answers: load.answers,
      failures: load.failures,
      objectiveMs: 100,
      compared: compared.length,
      different,
      decisionToServingMs: decisionToServing(events),
      recorder,
      components: ['front', 'tokenizer', 'index'],
    };
    for (const line of renderReport(outcome)) say(line);
    const faults = faultsOf(outcome);
    say(faults.length === 0 ? '\ndemo: it worked' : `\ndemo: it did not work: ${faults.join('; ')}`);
    return faults.length === 0 ? 0 : 1;
  } finally {
    say('demo: cleaning up');
    await cluster.close();
  }
}

/** The example's manifest with a free port and the season of this run. */
async function applyExample(cluster: Cluster, port: number, daySeconds: number): Promise<void> {
  const file = join(EXAMPLE, 'shoal.yaml');
  const parsed = parseManifest(await readFile(file, 'utf8'), file);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  const manifest = resolveDirectories(parsed.manifest, EXAMPLE);
  for (const component of Object.values(manifest.components)) {
    component.seasonSeconds = Math.max(10, Math.round(daySeconds));
    for (const each of component.ports) each.host = port;
  }
  await cluster.put(`/v1/apps/${manifest.app}`, 'application/json', JSON.stringify(toUserForm(manifest)));
  await cluster.until('every component is ready', READY_MS_MAX, async () => {
    const components = await cluster.get<ComponentView[]>('/v1/apps/search/components');
    return components.every(({ count }) => count.ready >= count.desired);
  });
}

async function feed(base: string, texts: readonly string[]): Promise<void> {
  const start = performance.now();
  const queue = [...texts];
  const worker = async () => {
    for (let path = queue.pop(); path !== undefined && !stopping.signal.aborted; path = queue.pop()) {
      const url = `${base}/documents/${encodeURIComponent(relative(ROOT, path))}`;
      const response = await fetch(url, { method: 'PUT', body: await readFile(path) });
      const body = await response.text();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${body}`);
    }
  };
  await Promise.all(Array.from({ length: FEED_AT_ONCE }, worker));
  say(`demo: indexed in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/** Words to search for, from some of the texts. */
async function commonWords(texts: readonly string[]): Promise<string[]> {
  const words = new Set<string>();
  for (let i = 0; i < texts.length; i += Math.ceil(texts.length / 50)) {
    const text = await readFile(texts[i] as string, 'latin1');
    for (const word of text
      .toLowerCase()
      .match(/[a-z0-9_]{3,}/g)
      ?.slice(0, 200) ?? [])
      words.add(word);
  }
  return [...words];
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T;
}

/** Once a second: record, and show the live view. */
async function watch(cluster: Cluster, recorder: Recorder, load: Load, signal: AbortSignal): Promise<void> {
  for (let second = 0; !signal.aborted; second += 1) {
    const [components, instances, hosts, events] = await Promise.all([
      cluster.get<ComponentView[]>('/v1/apps/search/components'),
      cluster.get<InstanceView[]>('/v1/instances'),
      cluster.get<HostView[]>('/v1/hosts'),
      cluster.get<EventView[]>('/v1/events'),
    ]);
    const view: TopView = { title: cluster.server, atMs: Date.now(), hosts, components, instances, events };
    recorder.note(view.atMs, components, instances);
    if (process.stdout.isTTY) {
      const { columns, rows } = process.stdout;
      const lines = renderTop(view, columns, { height: rows - 1 });
      process.stdout.write(`\u001b[H\u001b[2J${lines.join('\n')}\n`);
    } else if (second % PLAIN_EVERY === 0) {
      say(plainLine(second, components, load));
    }
    await pause(VIEW_EVERY_MS, signal);
  }
}

function plainLine(second: number, components: readonly ComponentView[], load: Load): string {
  const parts = components.map(({ component, count, size, demandCpu, forecast }) => {
    const ahead = Math.max(0, ...(forecast?.points ?? []).map((point) => point.upper));
    return `${component} ${count.ready}/${count.desired} × ${size.cpu.toFixed(2)} (demand ${demandCpu.toFixed(2)}, forecast ≤ ${ahead.toFixed(2)})`;
  });
  return `${String(second).padStart(4)} s  ${String(load.sent).padStart(6)} requests  ${parts.join('  ')}`;
}

/** Every few seconds compares one search with grep over the same files. */
async function compare(
  base: string,
  texts: readonly string[],
  words: readonly string[],
  compared: string[],
  different: string[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const word = pick(words);
    compared.push(word);
    const response = await fetch(`${base}/search?q=${word}`);
    const answer = (await response.json()) as { documents?: number };
    const expected = await grepCount(texts, word);
    if (answer.documents !== expected) different.push(`${word}: ${JSON.stringify(answer)}, grep says ${expected}`);
    await pause(COMPARE_EVERY_MS, signal);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => signal.addEventListener('abort', () => done(), { once: true }));
}

if (values.help) {
  say(USAGE);
} else {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());
  process.exitCode = await main().catch((error: Error) => {
    process.stderr.write(`demo: ${error.message}\n`);
    return 1;
  });
}
