/** The state shard of a key, 0 … count-1, by 32-bit FNV-1a over UTF-8 (Fowler, Noll, Vo; draft-eastlake-fnv). */
export function shardOfKey(key: string, count: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(key, 'utf8')) {
    hash ^= byte;
    hash = Math.imul(hash, 0x01000193);
  }
  return (hash >>> 0) % count;
}
