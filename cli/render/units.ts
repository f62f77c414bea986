const KIBI = 1024;
const MEMORY_UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'];

/** Bytes in the manifest's units: 64Mi, 1.5Gi. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return '-';
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= KIBI && unit < MEMORY_UNITS.length - 1) {
    value /= KIBI;
    unit += 1;
  }
  return `${trim(value, value < 10 ? 1 : 0)}${MEMORY_UNITS[unit]}`;
}

/** Cores, two decimals at most: 0.25, 2; three for less than a tenth: 0.007. */
export function formatCores(cores: number): string {
  return Number.isFinite(cores) ? trim(cores, Math.abs(cores) < 0.1 ? 3 : 2) : '-';
}

/** A rate per second, shorter the larger it is. */
export function formatRate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return '-';
  return trim(perSecond, perSecond < 10 ? 1 : 0);
}

export function formatPercent(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)}%` : '-';
}

/** A duration given in milliseconds: 0.8ms, 12ms, 1.2s, 5m, 3h, 2d. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '-';
  if (ms < 1_000) return `${trim(ms, ms < 10 ? 1 : 0)}ms`;
  if (ms < 60_000) return `${trim(ms / 1_000, ms < 10_000 ? 1 : 0)}s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)}h`;
  return `${Math.floor(ms / 86_400_000)}d`;
}

/** Time of day, local: 14:03:59. */
export function formatClock(atMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return '-';
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

function trim(value: number, decimals: number): string {
  return String(Number(value.toFixed(decimals)));
}
