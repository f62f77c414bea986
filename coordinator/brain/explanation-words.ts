import type { AnnouncedEvent, Decision, Outcome } from './decision.js';
import type { AimBasis, DemandBasis, Explanation, Note, Option, Predictor } from './explanation.js';
import type { TimeUse } from './time-use.js';

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

/** What a paragraph of an explanation is about, in the order in which they are told. */
export type Topic =
  | 'saw'
  | 'knew'
  | 'expected'
  | 'announced'
  | 'aimed'
  | 'needed'
  | 'weighed'
  | 'because'
  | 'did'
  | 'came';

export interface Paragraph {
  topic: Topic;
  text: string;
}

/** The whole of a decision in plain words, for somebody who has not met Shoal before. */
export function explain({ explanation, fate, announced, outcome }: Decision): Paragraph[] {
  const paragraphs: Paragraph[] = [
    { topic: 'saw', text: sawWords(explanation) },
    { topic: 'knew', text: knewWords(explanation) },
    { topic: 'expected', text: expectedWords(explanation) },
    ...announced.map((event): Paragraph => ({ topic: 'announced', text: announcedWords(event) })),
    {
      topic: 'aimed',
      text: `At ${percent(explanation.aim.utilisation)} utilisation: ${AIM_WORDS[explanation.aim.basis](explanation)}.`,
    },
    { topic: 'needed', text: neededWords(explanation) },
    ...weighedWords(explanation).map((text): Paragraph => ({ topic: 'weighed', text })),
    ...explanation.notes.map((note): Paragraph => ({ topic: 'because', text: `${BECAUSE_WORDS[note](explanation)}.` })),
    { topic: 'did', text: didWords(explanation, fate) },
  ];
  if (outcome !== null) paragraphs.push({ topic: 'came', text: cameWords(outcome) });
  return paragraphs.filter(({ text }) => text !== '');
}

const NOTE_WORDS: { [note in Note]?: (explanation: Explanation) => string } = {
  'lost-metrics': () => 'no samples came, so nothing shrinks',
  burst: () => 'a burst that no forecast knew',
  'not-cpu': () => 'more CPU would not make it faster',
  'slow-callees': ({ seen }) => `slow because ${seen.time?.slowest?.callee ?? 'what it calls'} is`,
  'cpu-wait': ({ seen }) =>
    `slow because it waits for CPU${seen.time === undefined ? '' : ` (${percent(waitShareOf(seen.time))} of its time)`}`,
  'count-max': ({ after }) => `limited to the maximum of ${after.count}`,
  'count-min': ({ after }) => `kept at the minimum of ${after.count}`,
  'size-max': () => 'the largest size is not enough',
  budget: () => 'limited by the budget',
  capacity: () => 'limited by what the hosts have',
};

const BECAUSE_WORDS: { [note in Note]: (explanation: Explanation) => string } = {
  idle: () => 'Nobody asks anything of it, now or soon',
  'lost-metrics': () => 'No new samples came from its instances: on old ones nothing is made smaller',
  burst: () => 'More came at once than the forecast knew of, so it went by what is there, with room to spare',
  saturated: () => 'It used all that it had, so the true demand may be higher than what was seen',
  calm: ({ need: { heldCpu, calmSeconds } }) =>
    `It needed ${cores(heldCpu)} cores within the last ${seconds(calmSeconds)}; nothing is made smaller before it was calm for so long`,
  'not-cpu': () => 'Its requests are slow for another reason than waiting for CPU: more cores would not help',
  'slow-callees': ({ seen }) =>
    `Its requests are slow because those that it makes of ${seen.time?.slowest?.callee ?? 'other components'} are: more cores would not help here`,
  'cpu-wait': () => 'Its requests are slow because they wait for a CPU while they could run',
  'count-max': ({ after }) => `The manifest allows no more than ${many(after.count, 'instance')}`,
  'count-min': ({ after }) => `The manifest asks for at least ${many(after.count, 'instance')}`,
  'size-max': () => 'Even the largest size that the manifest allows is less than it needs',
  budget: () => 'Its budget of cores, or that of its app, allows no more',
  capacity: () => 'The hosts have no more to give',
};

const AIM_WORDS: { [basis in AimBasis]: (explanation: Explanation) => string } = {
  target: () => 'the manifest says so',
  queue: () => 'usual where the manifest asks for short queues',
  learned: (each) => `so busy it still keeps ${objectiveWords(each)}, by what was learned of it`,
  unknown: (each) => `a careful guess for ${objectiveWords(each)}, until its latency has been seen`,
  missed: (each) => `less busy than now, since it misses ${objectiveWords(each)}`,
  'not-cpu': (each) => `a usual value; it misses ${objectiveWords(each)}, but not for want of CPU`,
};

const BASIS_WORDS: { [basis in DemandBasis]: (explanation: Explanation) => string } = {
  used: () => '',
  arrivals: ({ demand, seen }) =>
    demand.cpu > seen.usedCpu + 0.005 ? ` What arrives would take ${cores(demand.cpu)} cores.` : '',
  saturated: ({ demand }) =>
    ` It uses all that it has, so what it would take is not known; at least ${cores(demand.cpu)} cores.`,
  unknown: () => ' How much arrives is not known.',
};

const PREDICTOR_WORDS: { [predictor in Predictor]: string } = {
  level: 'as in the last while',
  last: 'as it is now',
  trend: 'going on as it rises or falls',
  forecast: 'by the forecast',
};

const START_WORDS = { warm: '', cold: ' on a host where it has not run before' };

function sawWords({ seen, before, aim, demand, ...rest }: Explanation): string {
  const explanation = { seen, before, aim, demand, ...rest };
  const text = [
    `It used ${cores(seen.usedCpu)} of the ${cores(seen.allottedCpu)} cores that its ${many(before.count, 'instance')} had.`,
  ];
  const waits = seen.outstanding > 0 ? `, and ${rate(seen.outstanding)} were waiting or running` : '';
  if (seen.arrivedPerSecond > 0 || seen.finishedPerSecond > 0 || waits !== '') {
    text.push(
      `${rate(seen.arrivedPerSecond)} requests arrived each second, ${rate(seen.finishedPerSecond)} were answered${waits}.`,
    );
  }
  if (seen.latencyMs !== null && aim.objective.kind === 'latency') {
    text.push(`${aim.objective.percentile} % of them were answered within ${ms(seen.latencyMs)}.`);
  }
  if (seen.time !== undefined) text.push(timeWords(seen.time));
  return `${text.join(' ')}${BASIS_WORDS[demand.basis](explanation)}`;
}

function timeWords({ meanMs, cpuMs, cpuWaitMs, calleesMs, slowest }: TimeUse): string {
  const most = slowest === undefined || slowest.ms === calleesMs ? '' : `, ${slowest.callee} ${ms(slowest.ms)} of it`;
  const named = slowest !== undefined && slowest.ms === calleesMs ? slowest.callee : 'those it calls';
  const callees = calleesMs > 0 ? `, and ${named} took ${ms(calleesMs)}${most}` : '';
  return `Of the ${ms(meanMs)} that a request took on average it ran for ${ms(cpuMs)} and waited ${ms(cpuWaitMs)} for a CPU${callees}.`;
}

function waitShareOf({ meanMs, cpuWaitMs }: TimeUse): number {
  return meanMs > 0 ? Math.min(1, cpuWaitMs / meanMs) : 0;
}

function knewWords({ learned: { costCpu, idleCpu, unqueuedMs, start }, aim }: Explanation): string {
  const text: string[] = [];
  if (costCpu !== null) text.push(`one request costs ${ms(costCpu * 1000)} of CPU`);
  if (idleCpu >= 0.001) text.push(`an instance burns ${cores(idleCpu)} cores without any work`);
  if (unqueuedMs !== null && aim.objective.kind === 'latency') {
    text.push(`without waiting for CPU ${aim.objective.percentile} % of requests would take at most ${ms(unqueuedMs)}`);
  }
  if (start !== undefined && start.kind !== 'assumed') {
    text.push(`a new instance serves within ${seconds(start.seconds)}${START_WORDS[start.kind]}`);
  }
  return text.length === 0 ? '' : sentence(`from experience: ${text.join('; ')}`);
}

function expectedWords({ demand, ahead }: Explanation): string {
  const margin =
    demand.marginShare >= 0.005 ? `, with ${percent(demand.marginShare)} added for what was missed of late` : '';
  const backlog = demand.backlogCpu >= 0.005 ? ` ${cores(demand.backlogCpu)} of them to work off what waits.` : '';
  const next = `${cores(demand.nextCpu)} cores until the next decision takes hold, ${PREDICTOR_WORDS[demand.predictor]}${margin}.${backlog}`;
  if (ahead === null) return `${next} There is no forecast yet.`;
  const trust =
    ahead.trust >= 0.995
      ? ''
      : ahead.trust <= 0.005
        ? ' It is not believed, since it has been wrong of late.'
        : ` It is believed by ${percent(ahead.trust)}, as far as it has been right of late.`;
  return `${next} Within ${seconds(ahead.seconds)}, in which a new instance could serve, at most ${cores(ahead.cpu)} cores.${trust}`;
}

function announcedWords({ id, note, fromMs, toMs, effect }: AnnouncedEvent): string {
  const what =
    effect.kind === 'factor'
      ? `${effect.factor} times the usual demand`
      : `at least ${rate(effect.perSecond)} requests each second`;
  const name = note === '' ? id : `${id} (${note})`;
  return `The known event ${name} brings ${what} from ${utc(fromMs)} to ${utc(toMs)}.`;
}

function neededWords({ need, after }: Explanation): string {
  const count = need.count > 1 ? `, and at least ${many(need.count, 'instance')}` : '';
  const held = need.heldCpu > need.cpu + 0.005 ? ` ${cores(need.heldCpu)} cores still hold from before.` : '';
  const limited =
    after.count > 0 && need.cpu > after.count * after.size.cpu + 0.005 ? ' That is more than it gets.' : '';
  return `${cores(need.cpu)} cores in all for that${count}.${held}${limited}`;
}

/** The chosen option first, then what else was there, cheapest first. */
function weighedWords({ options, chosen }: Explanation): string[] {
  if (options.length < 2) return [];
  const words = (option: Option, isChosen: boolean): string => {
    const cost = `${shape(option.count, option.cpu)}: costs ${cores(option.costCores)} cores with its moves`;
    return `${cost}${option.meets ? '' : ', not enough'}${isChosen ? ' — chosen' : ''}`;
  };
  const best = options[chosen];
  const others = options.filter((each) => each !== best).toSorted((a, b) => a.costCores - b.costCores);
  return [
    ...(best === undefined ? [] : [words(best, true)]),
    ...others.slice(0, OPTIONS_TOLD).map((each) => words(each, false)),
  ];
}
const OPTIONS_TOLD = 3;

function didWords({ before, after }: Explanation, fate: Decision['fate']): string {
  const step = stepSentence(before, after);
  if (fate === 'observed') return `Nothing: its mode is observe. Otherwise: ${step}`;
  if (fate === 'by-hand') return `Only the size: its count is set by hand. Otherwise: ${step}`;
  return step;
}

function stepSentence(before: Explanation['before'], after: Explanation['after']): string {
  const more = after.count - before.count;
  if (after.count === 0) return before.count === 0 ? 'It stays without instances.' : 'All of its instances end.';
  const resize =
    after.size.cpu === before.size.cpu
      ? ''
      : `, each resized from ${cores(before.size.cpu)} to ${cores(after.size.cpu)} cores in place`;
  if (more > 0)
    return `${many(more, 'instance')} more: ${before.count} → ${shape(after.count, after.size.cpu)}${resize}.`;
  if (more < 0)
    return `${many(-more, 'instance')} fewer: ${before.count} → ${shape(after.count, after.size.cpu)}${resize}.`;
  if (resize !== '') return `${many(after.count, 'instance')} as before${resize}.`;
  if (after.size.memory !== before.size.memory) {
    return `${shape(after.count, after.size.cpu)} as before, memory resized from ${mebibytes(before.size.memory)} to ${mebibytes(after.size.memory)} in place.`;
  }
  return `It stays at ${shape(after.count, after.size.cpu)}.`;
}

function cameWords({ verdict, peakCpu, foretoldCpu, seconds: over, allottedCpu }: Outcome): string {
  const came = `In the ${seconds(over)} after it at most ${cores(peakCpu)} cores were asked for`;
  const judged = {
    'as-foretold': `within the ${cores(foretoldCpu)} that were expected`,
    more: `more than the ${cores(foretoldCpu)} that were expected`,
    less: `less than half of the ${cores(foretoldCpu)} that were expected`,
  }[verdict];
  const enough = peakCpu <= allottedCpu + 1e-9 ? 'It was enough' : 'It was too little';
  return `${came}, ${judged}. ${enough}: there were ${cores(allottedCpu)}.`;
}

function aimWords({ aim, seen }: Explanation): string {
  if (aim.objective.kind !== 'latency') return '';
  if (seen.latencyMs === null) return ' (no latency seen yet)';
  return ` (p${aim.objective.percentile} ${seen.latencyMs.toFixed(1)} ms of ${aim.objective.targetMs} ms)`;
}

function objectiveWords({ aim: { objective } }: Explanation): string {
  if (objective.kind !== 'latency') return 'its objective';
  return `its objective of ${objective.percentile} % answered within ${ms(objective.targetMs)}`;
}

function stepWords(before: Explanation['before'], after: Explanation['after']): string {
  const now = `${shape(after.count, after.size.cpu)}`;
  if (after.count === 0) return before.count === 0 ? 'stays at zero' : 'to zero';
  if (after.count !== before.count) return `${before.count} → ${now}`;
  return after.size.cpu === before.size.cpu ? `stays at ${now}` : `resized in place to ${now}`;
}

function shape(count: number, cpu: number): string {
  return `${count} × ${cores(cpu)} cores`;
}

/** To the second, in UTC. */
function utc(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function many(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function rate(value: number): string {
  return value.toFixed(value < 10 ? 1 : 0).replace(/\.0$/, '');
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0).replace(/\.0$/, '')} ms`;
}

function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0).replace(/\.0$/, '')} s`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

export function cores(value: number): string {
  return value.toFixed(2);
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
