/** Where a server of a cache is. */
export interface CacheAddress {
  tls: boolean;
  host: string;
  port: number;
  database: number;
}

const PORT_DEFAULT = 6379;
const PORT_MAX = 65_535;
const DATABASE_MAX = 1_000;
const ADDRESS = /^(rediss?):\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?(?:\/(\d{0,4}))?$/;

/** `redis[s]://HOST[:PORT][/DATABASE]`, without a user or a password; null for anything else. */
export function parseCacheAddress(text: string): CacheAddress | null {
  const parts = ADDRESS.exec(text);
  if (parts === null) return null;
  const [, scheme, host = '', port = String(PORT_DEFAULT), database = ''] = parts;
  const address = {
    tls: scheme === 'rediss',
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(port),
    database: Number(database),
  };
  return address.port >= 1 && address.port <= PORT_MAX && address.database <= DATABASE_MAX ? address : null;
}
