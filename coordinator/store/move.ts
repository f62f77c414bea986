import { ShoalError } from '../../protocol/errors.js';
import type { EtcdStore } from './etcd/store.js';
import type { LmdbStore } from './lmdb-store.js';
import type { StoreOperation } from './store.js';

export interface Moved {
  keys: number;
  term: number;
}

/**
 * Brings all that the embedded store holds to etcd, with its term: agents go on to obey. Afterwards the embedded one can no
 * longer be led. Interrupted anywhere it can be done again. Throws SHOAL_E_CONFLICT when etcd holds something else, unless
 * that shall be replaced.
 */
export async function moveStore(from: LmdbStore, to: EtcdStore, replace: boolean): Promise<Moved> {
  // Ends the leadership of a coordinator that still runs on it.
  const term = await from.campaign();
  const held = await from.load('');
  await to.campaign({ name: 'shoal store move', api: '', link: null });
  const before = await to.load('');
  const batch: StoreOperation[] = [...held].map(([key, value]) => ({ kind: 'put', key, value }));
  for (const key of before.keys()) if (!held.has(key)) batch.push({ kind: 'delete', key });
  if (before.size > 0 && !replace && !isSame(held, before)) {
    const detail = `etcd already holds ${before.size} keys under this prefix that are not those of the embedded store`;
    throw new ShoalError('SHOAL_E_CONFLICT', `${detail}; give another --etcd-prefix, or --replace to remove them`);
  }
  await to.commit(batch);
  await to.raiseTerm(term);
  await from.retire(to.health.detail);
  return { keys: held.size, term };
}

function isSame(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  const text = (map: ReadonlyMap<string, unknown>) => JSON.stringify([...map].sort(([x], [y]) => (x < y ? -1 : 1)));
  return text(a) === text(b);
}
