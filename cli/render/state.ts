import type { ShardView } from '../../protocol/http.js';
import { ranges } from './describe.js';
import type { Paint } from './paint.js';
import { type Column, renderTable } from './table.js';
import { clean } from './text.js';
import { formatBytes, formatCores, formatRate } from './units.js';

export const STATE_ORDERS = ['shard', 'bytes', 'heat'] as const;
export type StateOrder = (typeof STATE_ORDERS)[number];

/** The first ones are the largest or the hottest. */
export function sortedShards(shards: readonly ShardView[], order: StateOrder): ShardView[] {
  const size = ({ holds }: ShardView) => holds?.liveBytes ?? 0;
  const differ: Record<StateOrder, (a: ShardView, b: ShardView) => number> = {
    shard: () => 0,
    bytes: (a, b) => size(b) - size(a),
    heat: (a, b) => b.cpu - a.cpu || b.callsPerSecond - a.callsPerSecond,
  };
  return shards.toSorted((a, b) => differ[order](a, b) || a.shard - b.shard);
}

export interface StateShown {
  shards: readonly ShardView[];
  /** Of replicated state, else null. */
  lagMs: number | null;
  /** By what its copies go. */
  ways: readonly string[];
}

export function renderState(name: string, { shards, lagMs, ways }: StateShown, paint: Paint): string[] {
  const lag = lagMs === null ? [] : [`what its instances read lacks no write acknowledged ${lagMs} ms ago or earlier`];
  const said = [summaryOf(name, shards), ...lostText(shards), ...waitingText(shards), ...lag, ...ways.map(clean)];
  return [...said, '', ...renderTable(shards, COLUMNS, { paint })];
}

/** Those of which no copy was left. */
function lostText(shards: readonly ShardView[]): string[] {
  const lost = shards.filter(({ lostAtMs = null }) => lostAtMs !== null).toSorted((a, b) => a.shard - b.shard);
  if (lost.length === 0) return [];
  const last = new Date(Math.max(...lost.map(({ lostAtMs }) => lostAtMs ?? 0))).toISOString();
  const numbers = ranges(lost.map(({ shard }) => shard));
  return [`${lost.length} state shards began empty, since no copy of them was left, the last at ${last}: ${numbers}`];
}

/** Those that nobody serves until a host has said how much of them it has. */
function waitingText(shards: readonly ShardView[]): string[] {
  const waiting = shards.filter(({ copies }) => copies?.phase === 'fencing');
  if (waiting.length === 0) return [];
  const hosts = [...new Set(waiting.flatMap(({ copies }) => copies?.inSync ?? []))].sort();
  const numbers = ranges(waiting.map(({ shard }) => shard));
  const text = `${waiting.length} state shards wait for hosts that had copies of them, ${hosts.join(', ')}: ${numbers}`;
  return [text, 'who knows that one will not come back, nor its disk: shoal host drain HOST'];
}

const COLUMNS: readonly Column<ShardView>[] = [
  { title: 'SHARD', value: ({ shard }) => String(shard), align: 'right' },
  { title: 'OWNER', value: ({ owner }) => owner ?? '-' },
  { title: 'HOST', value: ({ holds, copies }) => holds?.host ?? copies?.owner ?? '-' },
  { title: 'COPIES', value: copiesText },
  { title: 'ENTRIES', value: ({ holds }) => (holds === null ? '-' : String(holds.entries)), align: 'right' },
  { title: 'BYTES', value: ({ holds }) => (holds === null ? '-' : formatBytes(holds.liveBytes)), align: 'right' },
  { title: 'HELD', value: ({ holds }) => (holds === null ? '-' : formatBytes(holds.heldBytes)), align: 'right' },
  { title: 'CPU', value: ({ cpu }) => formatCores(cpu), align: 'right' },
  { title: 'CALLS/S', value: ({ callsPerSecond }) => formatRate(callsPerSecond), align: 'right' },
  { title: 'REFUSED', value: ({ holds }) => (holds === null ? '-' : String(holds.refused)), align: 'right' },
  { title: 'MOVE', value: moveText },
];

function summaryOf(name: string, shards: readonly ShardView[]): string {
  const sum = (of: (shard: ShardView) => number) => shards.reduce((total, each) => total + of(each), 0);
  const entries = sum(({ holds }) => holds?.entries ?? 0);
  const live = formatBytes(sum(({ holds }) => holds?.liveBytes ?? 0));
  const held = formatBytes(sum(({ holds }) => holds?.heldBytes ?? 0));
  const owners = new Set(shards.flatMap(({ owner }) => owner ?? [])).size;
  const moving = shards.filter(({ move }) => move !== null).length;
  const lost = shards.filter(({ copies }) => copies?.phase === 'lost').length;
  const whatHappens = `${moving} on their way${lost === 0 ? '' : `, ${lost} lost`}`;
  return `${name}: ${shards.length} state shards of ${owners} owners, ${entries} entries, ${live} (${held} held), ${whatHappens}`;
}

/** Other hosts that hold all acknowledged writes, and what is amiss. */
function copiesText({ copies }: ShardView): string {
  if (copies === null) return '-';
  const others = copies.inSync.filter((host) => host !== copies.owner);
  const phase = copies.phase === 'serving' ? [] : [`(${copies.phase})`];
  return [...others, ...phase].join(' ') || '-';
}

const MOVES = { instance: 'to', host: 'to host', copy: 'copied to' } as const;

function moveText({ move }: ShardView): string {
  return move === null ? '' : `${MOVES[move.kind]} ${move.to.join(', ')}`;
}
