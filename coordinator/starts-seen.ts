import { learnStart, type StartTimes } from './brain/start-time.js';
import type { ComponentSums } from './component-sums.js';
import type { InstanceRecord } from './instance-table.js';
import type { Observed } from './observed.js';

/**
 * What the instances tell of how long starting takes that got ready since the last tick. The agent's own word counts,
 * which begins with the order; where it has none, the time from the decision until the coordinator heard. Neither is a
 * start where the host has dialled anew since the decision, or this coordinator begun: then it is only heard of late.
 */
export function learnStarts(
  known: StartTimes,
  sums: ComponentSums | undefined,
  instances: readonly InstanceRecord[] | undefined,
  observed: Observed,
): StartTimes {
  if (sums === undefined || sums.started === null) return known;
  let starts = known;
  for (const { id, host, heardMs, connectedMs, startMs } of sums.started) {
    const instance = instances?.find((each) => each.id === id);
    if (instance === undefined || instance.createdAtMs < connectedMs) continue;
    const seconds = (startMs ?? heardMs - instance.createdAtMs) / 1000;
    const { generation } = instance;
    starts = learnStart(starts, { seconds, host, generation }, (name) => observed.hosts.has(name));
  }
  return starts;
}
