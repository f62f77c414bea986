/** Which store, as options of a command give it. Without `etcd` it is the embedded one. */
export interface StoreSettings {
  /** Folder of the embedded store. */
  data: string;
  /** Addresses of etcd's members with commas between them. */
  etcd?: string;
  etcdPrefix?: string;
  /** Files in PEM: who signed etcd's certificate, our certificate and its key. */
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
  etcdUser?: string;
  etcdPasswordFile?: string;
  /** Whole seconds. */
  etcdLeaseSeconds?: string;
}

/** The options that say which etcd, with what is said of them in a usage text. */
export const ETCD_FLAGS = [
  ['etcd', 'URL,…', 'etcd instead of the embedded store: the addresses of its members'],
  ['etcd-prefix', 'PREFIX', 'of all keys in etcd, ends with / (default /shoal/)'],
  ['etcd-ca', 'FILE', "who signed etcd's certificate"],
  ['etcd-cert', 'FILE', 'certificate to show to etcd'],
  ['etcd-key', 'FILE', 'its key'],
  ['etcd-user', 'NAME', 'user of etcd'],
  ['etcd-password-file', 'FILE', 'file that holds its password'],
  ['etcd-lease-seconds', 'N', 'a leader that is gone is waited for so long (2 to 60, default 2)'],
] as const;

export type EtcdFlag = (typeof ETCD_FLAGS)[number][0];

/** The etcd part of the settings from values by flag, as `parseArgs` reads them. */
export function etcdSettings(values: Readonly<Record<string, unknown>>): Omit<StoreSettings, 'data'> {
  const given = ETCD_FLAGS.flatMap(([flag]) => {
    const value = values[flag];
    return typeof value === 'string' ? [[camel(flag), value] as const] : [];
  });
  return Object.fromEntries(given);
}

/** The settings as arguments again, for a process that is started with them. */
export function etcdArguments(settings: Omit<StoreSettings, 'data'>): string[] {
  return ETCD_FLAGS.flatMap(([flag]) => {
    const value = settings[camel(flag) as keyof typeof settings];
    return value === undefined ? [] : [`--${flag}`, value];
  });
}

function camel(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
