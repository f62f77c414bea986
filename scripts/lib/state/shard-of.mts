/** As protocol/shard.ts has it, which is not in the folder of the components here: FNV-1a of the key modulo the shards. */
export function shardOf(key: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(key, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % shards;
}
