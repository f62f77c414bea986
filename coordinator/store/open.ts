import { readFileSync } from 'node:fs';
import { ShoalError } from '../../protocol/errors.js';
import { EtcdClient } from './etcd/client.js';
import { EtcdStore, LEASE_SECONDS } from './etcd/store.js';
import type { StoreSettings } from './flags.js';
import { openLmdbStore } from './lmdb-store.js';
import type { Store } from './store.js';

const LEASE_SECONDS_MAX = 60;

/** Opens the store. Throws SHOAL_E_USAGE when the settings cannot be meant so. */
export function openStore(settings: StoreSettings): Store {
  return settings.etcd === undefined ? openLmdbStore({ folder: settings.data }) : openEtcdStore(settings);
}

export function openEtcdStore(settings: StoreSettings): EtcdStore {
  const { etcdPrefix, etcdCa, etcdCert, etcdKey, etcdUser, etcdPasswordFile } = settings;
  const endpoints = readEndpoints(settings.etcd ?? '');
  if ((etcdCert === undefined) !== (etcdKey === undefined)) throw usage('--etcd-cert and --etcd-key go together');
  if ((etcdUser === undefined) !== (etcdPasswordFile === undefined)) {
    throw usage('--etcd-user and --etcd-password-file go together');
  }
  const tls = {
    ...(etcdCa === undefined ? {} : { ca: readText('--etcd-ca', etcdCa) }),
    ...(etcdCert === undefined ? {} : { cert: readText('--etcd-cert', etcdCert) }),
    ...(etcdKey === undefined ? {} : { key: readText('--etcd-key', etcdKey) }),
  };
  const user =
    etcdUser === undefined || etcdPasswordFile === undefined
      ? {}
      : { user: { name: etcdUser, password: readText('--etcd-password-file', etcdPasswordFile).trim() } };
  return new EtcdStore({
    etcd: new EtcdClient({ endpoints, tls, ...user }),
    ...(etcdPrefix === undefined ? {} : { prefix: etcdPrefix }),
    leaseSeconds: readLeaseSeconds(settings.etcdLeaseSeconds),
  });
}

function readEndpoints(text: string): string[] {
  const endpoints = text.split(',').map((each) => each.trim());
  for (const each of endpoints) {
    const url = URL.canParse(each) ? new URL(each) : null;
    if (url === null || !['http:', 'https:'].includes(url.protocol) || url.pathname !== '/') {
      throw usage(`--etcd must be addresses such as http://10.0.0.1:2379 with commas between them, not "${each}"`);
    }
  }
  return endpoints;
}

/** Etcd gives none shorter than 2 s by its default heartbeat; a minute without a leader is long. */
function readLeaseSeconds(text = String(LEASE_SECONDS)): number {
  const seconds = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= LEASE_SECONDS && seconds <= LEASE_SECONDS_MAX) return seconds;
  throw usage(`--etcd-lease-seconds must be a whole number from ${LEASE_SECONDS} to ${LEASE_SECONDS_MAX}, not ${text}`);
}

function readText(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read ${option}: ${(cause as Error).message}`, { cause });
  }
}

function usage(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_USAGE', detail);
}
