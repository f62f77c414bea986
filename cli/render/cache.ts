import type { CacheFigures } from '../../protocol/cache-figures.js';

/** What the instances of a component do with its cache, a line each. */
export function renderCache(name: string, cache: CacheFigures): string[] {
  const { hits, misses, nearHits, writes, failed, answerMs, slowestMs, waiting, connections, clients } = cache;
  const reads = hits + misses + nearHits;
  const answered = hits + misses + writes;
  const shareOf = (count: number) => (reads === 0 ? '-' : `${((100 * count) / reads).toFixed(1)} %`);
  const mean = answered === 0 ? '-' : `${(answerMs / answered).toFixed(2)} ms`;
  return [
    `${name}: ${reads} reads, ${writes} writes, ${failed} failed`,
    `reads       found ${hits} (${shareOf(hits)}), found near ${nearHits} (${shareOf(nearHits)}), not found ${misses} (${shareOf(misses)})`,
    `answers     ${mean} on average, the longest of the last seconds ${slowestMs.toFixed(2)} ms, ${waiting} waited for`,
    `connections ${connections} to servers, for ${clients} processes of instances`,
  ];
}
