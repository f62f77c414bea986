import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { type Manifest, secretsOf } from '../protocol/manifest.js';
import { type AppRecord, bump, type ClusterState, own } from './cluster.js';

export interface SecretRecord {
  /** Rises with every value that is set. */
  version: number;
  /** By the coordinator's key; base64. */
  sealed: string;
  changedAtMs: number;
}

/** What it is kept under, and sealed with. */
export function secretKey(app: string, name: string): string {
  return `${app}/${name}`;
}

/** Components of the app that need the secret. */
export function usersOf({ components }: Manifest, name: string): [component: string, hasFile: boolean][] {
  return Object.entries(components)
    .filter(([, component]) => secretsOf(component).includes(name))
    .map(([key, { secrets }]) => [key, secrets?.includes(name) === true]);
}

/** Versions of the secrets of an app that has this manifest. Absent: none is used. */
export function versionsFor(state: ClusterState, { app, components }: Manifest): Readonly<Record<string, number>> {
  const names = new Set(Object.values(components).flatMap(secretsOf));
  const entries = [...names].map((name) => [name, own(state.secrets, secretKey(app, name))?.version ?? 0] as const);
  return Object.fromEntries(entries);
}

/**
 * Takes a value; the instances that have it as a file are replaced one after another, and agents reach caches by it from now on.
 * The app need not be there yet.
 */
export function setSecret(
  state: ClusterState,
  app: string,
  name: string,
  sealed: string,
  changedAtMs: number,
): ClusterState {
  const key = secretKey(app, name);
  const before = own(state.secrets, key);
  if (before === undefined && namesOf(state, app).length >= LIMITS.secretsPerAppMax) {
    throw new ShoalError('SHOAL_E_CONFLICT', `${app} has ${LIMITS.secretsPerAppMax} secrets, which is the most`);
  }
  const version = (before?.version ?? 0) + 1;
  const secrets = { ...state.secrets, [key]: { version, sealed, changedAtMs } };
  const record = own(state.apps, app);
  const users = record === undefined ? [] : usersOf(record.manifest, name);
  if (record === undefined || users.length === 0) return bump({ ...state, secrets });
  const replaced = users.flatMap(([component, hasFile]) => (hasFile ? [component] : []));
  return bump({ ...state, secrets, apps: { ...state.apps, [app]: rotated(record, name, version, replaced) } });
}

/** Throws SHOAL_E_NOT_FOUND, or SHOAL_E_CONFLICT while a component has it as a file. */
export function deleteSecret(state: ClusterState, app: string, name: string): ClusterState {
  const { [secretKey(app, name)]: before, ...secrets } = state.secrets;
  if (before === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no secret ${app}/${name}`);
  const record = own(state.apps, app);
  const [user] = record === undefined ? [] : usersOf(record.manifest, name);
  if (user === undefined) return bump({ ...state, secrets });
  const [component, hasFile] = user;
  const how = hasFile ? 'as a file' : 'for its cache';
  const remedy = 'take it out of the manifest first';
  throw new ShoalError('SHOAL_E_CONFLICT', `${app}/${component} has the secret ${name} ${how}: ${remedy}`);
}

export function namesOf(state: ClusterState, app: string): string[] {
  const prefix = secretKey(app, '');
  return Object.keys(state.secrets)
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .sort();
}

function rotated(record: AppRecord, name: string, version: number, users: readonly string[]): AppRecord {
  const revision = record.revision + 1;
  const generations = { ...record.generations };
  for (const user of users) generations[user] = revision;
  return { ...record, revision, generations, secretVersions: { ...record.secretVersions, [name]: version } };
}
