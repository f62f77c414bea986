import type { HostBounds } from '../protocol/http.js';
import type { HostInfo } from '../protocol/link.js';

/**
 * What is believed of what a host says of itself, where whoever let it join has answered for some of it: no more cores and
 * memory, these labels and no others, these taints at least. A host that lies cannot attract more than it was let in for.
 */
export function withinBounds(info: HostInfo, bounds: HostBounds = {}): HostInfo {
  const { labels = info.labels, taints = [], cores = info.cores, memoryBytes = info.memoryBytes } = bounds;
  const allTaints = [...new Set([...taints, ...(info.taints ?? [])])];
  const most = Math.min(cores, info.cores);
  const { ownCores } = info;
  return {
    ...info,
    cores: most,
    memoryBytes: Math.min(memoryBytes, info.memoryBytes),
    ...(labels === undefined ? {} : { labels }),
    ...(allTaints.length === 0 ? {} : { taints: allTaints }),
    ...(ownCores === undefined ? {} : { ownCores: Math.min(ownCores, Math.floor(most)) }),
  };
}
