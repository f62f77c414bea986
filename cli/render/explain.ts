import type { DecisionView } from '../../protocol/http.js';
import { type Paint, PLAIN } from './paint.js';
import { clean, cut, pad, wrap } from './text.js';
import { formatBytes, formatClock, formatCores } from './units.js';

const TOPIC_COLUMNS = 10;
const TEXT_COLUMNS_MIN = 30;
const HISTORY_LINES = 8;

/** One decision: a heading, then a paragraph for each topic. */
export function renderDecision(decision: DecisionView, width: number, paint: Paint = PLAIN): string[] {
  const { before, after, changed, fate, words } = decision;
  const done = fate === 'done' ? '' : ', not carried out';
  const what = changed ? `${move(before, after)}${done}` : `${shape(after)}, no change${done}`;
  const heading = `${formatClock(decision.atMs)}  ${what}`;
  const room = Math.max(TEXT_COLUMNS_MIN, width - TOPIC_COLUMNS - 2);
  let topicBefore = '';
  const lines = words.flatMap(({ topic, text }) => {
    const wrapped = wrap(clean(text), room);
    return wrapped.map((line, at) => {
      const label = at === 0 && topic !== topicBefore ? clean(topic) : '';
      if (at === 0) topicBefore = topic;
      return `  ${paint.cyan(pad(cut(label, TOPIC_COLUMNS - 1), TOPIC_COLUMNS))}${line}`;
    });
  });
  return [paint.bold(cut(clean(heading), width)), ...lines];
}

/** One line for each of the last changes. */
export function renderHistory(decisions: readonly DecisionView[], width: number, paint: Paint = PLAIN): string[] {
  const changes = decisions.filter(({ changed }) => changed).slice(-HISTORY_LINES);
  if (changes.length < 2) return [];
  const lines = changes.map((each) => {
    const verdict = each.outcome === null ? '' : `  (demand ${VERDICTS[each.outcome.verdict]})`;
    return paint.dim(cut(clean(`  ${formatClock(each.atMs)}  ${move(each.before, each.after)}${verdict}`), width));
  });
  return ['', paint.bold('last changes'), ...lines];
}

const VERDICTS = { 'as-foretold': 'as foretold', more: 'more than foretold', less: 'less than foretold' };

/** With the memory where that is what tells them apart. */
function move(before: DecisionView['before'], after: DecisionView['after']): string {
  const [from, to] = [shape(before), shape(after)];
  const { memory } = before.size;
  if (from !== to || memory === after.size.memory) return `${from} → ${to}`;
  return `${from}, ${formatBytes(memory)} → ${formatBytes(after.size.memory)}`;
}

function shape({ count, size }: DecisionView['after']): string {
  return `${count} × ${formatCores(size.cpu)} cores`;
}
