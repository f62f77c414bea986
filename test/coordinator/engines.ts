import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { EtcdClient } from '../../coordinator/store/etcd/client.js';
import { EtcdStore } from '../../coordinator/store/etcd/store.js';
import { openLmdbStore } from '../../coordinator/store/lmdb-store.js';
import type { Store } from '../../coordinator/store/store.js';
import type { EtcdRig } from '../../scripts/lib/cluster/etcd.js';

/** An engine of the store, for the contract that all of them keep. */
export interface Engine {
  name: string;
  /** Opens the store of that name; again each time. */
  open(place: string): Promise<Store>;
  /** A module's text that opens it in another process as `store`. */
  script(place: string): string;
  /** Takes the leadership from who has it, and commits `a: new` as its successor. */
  depose(place: string): Promise<number>;
}

const LMDB_MODULE = JSON.stringify(new URL('../../coordinator/store/lmdb-store.js', import.meta.url).href);
const CLIENT_MODULE = JSON.stringify(new URL('../../coordinator/store/etcd/client.js', import.meta.url).href);
const ETCD_MODULE = JSON.stringify(new URL('../../coordinator/store/etcd/store.js', import.meta.url).href);

/** The engines; an embedded store is below the folder. */
export function enginesOf(root: string, etcd: EtcdRig): { lmdb: Engine; inEtcd: Engine } {
  const lmdbScript = (place: string) => `import { openLmdbStore } from ${LMDB_MODULE};
  const store = openLmdbStore({ folder: ${JSON.stringify(join(root, place))} });`;

  const lmdb: Engine = {
    name: 'lmdb',
    open: async (place) => openLmdbStore({ folder: join(root, place) }),
    script: lmdbScript,
    // Another process, as a second coordinator would be.
    async depose(place) {
      const rival = `${lmdbScript(place)}
      console.log(await store.campaign());
      await store.commit([{ kind: 'put', key: 'a', value: 'new' }]);
      await store.close();`;
      return Number((await run(rival)).trim());
    },
  };

  const openEtcd = (place: string) => openInEtcd(etcd, place);

  const inEtcd: Engine = {
    name: 'etcd',
    open: async (place) => openEtcd(place),
    script: (place) => `import { EtcdClient } from ${CLIENT_MODULE};
    import { EtcdStore } from ${ETCD_MODULE};
    const client = new EtcdClient({ endpoints: ${JSON.stringify(etcd.endpoints)} });
    const store = new EtcdStore({ etcd: client, prefix: ${JSON.stringify(`/${place}/`)} });`,
    // As when the lease of the leader has ended while it was stopped.
    async depose(place) {
      const client = new EtcdClient({ endpoints: etcd.endpoints });
      await client.transact(
        { conditions: [], perform: [{ kind: 'delete', key: `/${place}/leader` }], otherwise: [] },
        5_000,
      );
      client.close();
      const rival = openEtcd(place);
      const term = await rival.campaign();
      await rival.commit([{ kind: 'put', key: 'a', value: 'new' }]);
      await rival.close();
      return term;
    },
  };
  return { lmdb, inEtcd };
}

export function openInEtcd({ endpoints }: Pick<EtcdRig, 'endpoints'>, place: string): EtcdStore {
  return new EtcdStore({ etcd: new EtcdClient({ endpoints }), prefix: `/${place}/` });
}

function run(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
}
