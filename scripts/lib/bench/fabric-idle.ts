import { native } from '../../../native/index.js';
import { RingLink } from '../../../native/ring-link.js';
import { LIMITS } from '../../../protocol/limits.js';
import { alone, type Row } from './rows.js';

const CHANNELS = 1_000;
const WATCH_MS = 60_000;
/** Within a longer run of other figures. */
export const SHORT_WATCH_MS = 10_000;
const KIB = 1024;

/** What channels cost while nothing is sent: both ends of all are in this process. */
export async function benchFabricIdle(watchMs = WATCH_MS): Promise<Row[]> {
  const before = process.memoryUsage.rss();
  const links = Array.from({ length: CHANNELS }, () => {
    const events = { onRecord() {}, onRoom() {}, onClose() {} };
    const [one, two] = native.createChannel(LIMITS.ringBytes);
    return [new RingLink(one, 0, events), new RingLink(two, 1, events)];
  }).flat();
  // Each end goes to sleep in its first turns.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const bytes = process.memoryUsage.rss() - before;
  const began = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, watchMs));
  const { user, system } = process.cpuUsage(began);
  for (const link of links) link.close();
  return [
    // Its pages count twice, being mapped by both ends.
    alone('memory of an idle channel, one end', 'KiB', bytes / links.length / KIB),
    alone(
      `${CHANNELS} idle channels, both ends, CPU over ${watchMs / 1_000} s`,
      '% of a core',
      ((user + system) / 1_000 / watchMs) * 100,
    ),
  ];
}
