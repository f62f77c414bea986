import type { Explanation, Note } from './explanation.js';

/** One line: what was seen, what it takes, what is done. */
export function summary(explanation: Explanation): string {
  const { seen, demand, ahead, aim, need, before, after, notes } = explanation;
  const parts: string[] = [];
  if (notes.includes('idle')) parts.push('idle');
  else {
    const uses = [`uses ${cores(seen.usedCpu)} cores`];
    if (demand.basis === 'arrivals' && demand.cpu > seen.usedCpu) uses.push(`${cores(demand.cpu)} arrive`);
    if (ahead !== null && ahead.cpu > demand.cpu) uses.push(`up to ${cores(ahead.cpu)} forecast`);
    uses.push(`needs ${cores(need.cpu)} at ${percent(aim.utilisation)} utilisation${aimWords(explanation)}`);
    if (notes.includes('saturated')) uses.push('saturated');
    if (aim.objective.kind === 'queue' && seen.outstanding > 0) uses.push(`${seen.outstanding} calls wait or run`);
    parts.push(uses.join(', '));
  }
  if (notes.includes('calm')) {
    parts.push(`held at ${cores(need.heldCpu)} cores for ${Math.round(need.calmSeconds)} s of calm`);
  }
  for (const note of notes) {
    const words = NOTE_WORDS[note];
    if (words !== undefined) parts.push(words(explanation));
  }
  return `${parts.join('; ')}: ${stepWords(before, after)}`;
}

const NOTE_WORDS: { [note in Note]?: (explanation: Explanation) => string } = {
  'lost-metrics': () => 'no samples came, so nothing shrinks',
  burst: () => 'a burst that no forecast knew',
  'not-cpu': () => 'more CPU would not make it faster',
  'count-max': ({ after }) => `limited to the maximum of ${after.count}`,
  'count-min': ({ after }) => `kept at the minimum of ${after.count}`,
  'size-max': () => 'the largest size is not enough',
  budget: () => 'limited by the budget',
  capacity: () => 'limited by what the hosts have',
};

function aimWords({ aim, seen }: Explanation): string {
  if (aim.objective.kind !== 'latency') return '';
  if (seen.latencyMs === null) return ' (no latency seen yet)';
  return ` (p${aim.objective.percentile} ${seen.latencyMs.toFixed(1)} ms of ${aim.objective.targetMs} ms)`;
}

function stepWords(before: Explanation['before'], after: Explanation['after']): string {
  const shape = `${after.count} × ${cores(after.size.cpu)} cores`;
  if (after.count === 0) return before.count === 0 ? 'stays at zero' : 'to zero';
  if (after.count !== before.count) return `${before.count} → ${shape}`;
  return after.size.cpu === before.size.cpu ? `stays at ${shape}` : `resized in place to ${shape}`;
}

export function cores(value: number): string {
  return value.toFixed(2);
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
