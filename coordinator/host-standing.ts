import type { HostStanding } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import { componentKey } from './instance-table.js';
import { counts, type HostState, type Observed } from './observed.js';

/** A host that has been away for longer is lost: its instances are replaced, if another host can take them. */
export const HOST_LOST_MS = 3 * LIMITS.peerSilenceMsMax;
/** A connected host says something each second; when it has not for so long, or takes nothing up, it is wedged. */
export const SILENT_MS_MAX = 5_000;
export const BEHIND_MS_MAX = 10_000;
/** A host on which so many processes ended in this time, and none got ready, is wedged if they run elsewhere. */
export const FAILURES_MAX = 4;
export const FAILURES_MS = 120_000;
/** A host that was lost so often in this time flaps. */
export const LOSSES_MAX = 4;
export const LOSSES_MS = 300_000;

const WELL: HostStanding = { state: 'well', why: '' };

/**
 * How a host stands, and why; pure. Away: its connection has ended. Lost: for long. Wedged: it is connected and does not do
 * its work. Flapping: it comes and goes. To those that are well new instances go, to those that flap what no other
 * may have.
 */
export function standingOf(host: HostState, observed: Observed, nowMs: number): HostStanding {
  if (!host.connected) {
    const awayMs = nowMs - host.changedAtMs;
    const why = `it has been away for ${seconds(awayMs)}`;
    return { state: awayMs > HOST_LOST_MS ? 'lost' : 'away', why };
  }
  const wedged = whySilent(host, nowMs) ?? whyBehind(host, nowMs) ?? whyFailing(host, observed, nowMs);
  if (wedged !== null) return { state: 'wedged', why: wedged };
  const losses = host.lossesMs.filter((atMs) => nowMs - atMs < LOSSES_MS);
  if (losses.length >= LOSSES_MAX) {
    const endsMs = (losses[losses.length - LOSSES_MAX] as number) + LOSSES_MS - nowMs;
    const why = `it was lost ${losses.length} times in ${seconds(LOSSES_MS)}; well in ${seconds(endsMs)} if it stays`;
    return { state: 'flapping', why };
  }
  return WELL;
}

function whySilent({ lastHeardMs }: HostState, nowMs: number): string | null {
  const silentMs = nowMs - lastHeardMs;
  return silentMs > SILENT_MS_MAX ? `it is connected and has said nothing for ${seconds(silentMs)}` : null;
}

function whyBehind({ order }: HostState, nowMs: number): string | null {
  if (order === null || nowMs - order.sinceMs <= BEHIND_MS_MAX) return null;
  return `it has taken up nothing for ${seconds(nowMs - order.sinceMs)}; it was sent revision ${order.revision}`;
}

/** A component that comes up nowhere is to blame itself. */
function whyFailing({ failures, info }: HostState, observed: Observed, nowMs: number): string | null {
  const recent = failures.filter(({ atMs }) => nowMs - atMs < FAILURES_MS);
  if (recent.length < FAILURES_MAX) return null;
  const elsewhere = [...new Set(recent.map(({ key }) => key))].filter((key) => runsBeside(key, info.name, observed));
  const blamed = recent.filter(({ key }) => elsewhere.includes(key));
  if (blamed.length < FAILURES_MAX) return null;
  const runs = `${elsewhere.join(', ')} ${elsewhere.length === 1 ? 'runs' : 'run'} elsewhere`;
  return `${blamed.length} processes ended in ${seconds(FAILURES_MS)}, none got ready, and ${runs}`;
}

function runsBeside(key: string, name: string, observed: Observed): boolean {
  for (const { info, connected, statuses } of observed.hosts.values()) {
    if (!connected || info.name === name) continue;
    for (const seen of statuses.values()) {
      const { app, component, phase } = seen.status;
      if (phase === 'ready' && componentKey(app, component) === key && counts(observed, seen)) return true;
    }
  }
  return false;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}
