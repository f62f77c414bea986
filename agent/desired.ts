import { withChange } from '../protocol/desired-change.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Desired, DesiredChange } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';
import type { CopyRecord } from '../protocol/state-copies.js';
import { isCopyName, isCopyRecord } from '../protocol/state-copies-parse.js';

/** It becomes the name of a file. */
const SECRET = /^[a-z]([a-z0-9-]{0,62}[a-z0-9])?$/;
const ID = /^[a-z][a-z0-9-]{0,120}-\d+$/;

/** It becomes the name of a folder. */
export function isInstanceId(id: unknown): id is string {
  return typeof id === 'string' && ID.test(id);
}

export function emptyDesired(): Desired {
  return { revision: 0, apps: {}, instances: [], shards: {} };
}

export function componentsOf(desired: Desired, app: string): Readonly<Record<string, Component>> {
  return Object.hasOwn(desired.apps, app) ? (desired.apps[app] ?? {}) : {};
}

/** In base64; undefined: it was not set. */
export function secretOf({ secrets = {} }: Desired, app: string, name: string): string | undefined {
  const values = Object.hasOwn(secrets, app) ? secrets[app] : undefined;
  return values !== undefined && Object.hasOwn(values, name) ? values[name] : undefined;
}

/**
 * The desired state when it has the right shape; throws SHOAL_E_FRAME otherwise. It comes from the coordinator, which
 * validated the manifests; what names files or ids of this host is looked at again.
 */
export function parseDesired(value: unknown): Desired {
  const desired = value as Desired;
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `desired state: ${what}`);
  if (typeof value !== 'object' || value === null) throw fail('is not a map');
  if (!Number.isSafeInteger(desired.revision)) throw fail('has no revision');
  if (!isMap(desired.apps) || !isMap(desired.shards) || !Array.isArray(desired.instances))
    throw fail('has a wrong shape');
  for (const { id, app, component, size, weight = 1, paused = false } of desired.instances) {
    if (typeof id !== 'string' || !ID.test(id) || !id.startsWith(`${app}-${component}-`))
      throw fail(`instance id ${id}`);
    if (!(size?.cpu > 0) || !(size.memory > 0)) throw fail(`size of ${id}`);
    if (typeof weight !== 'number' || !(weight > 0 && weight <= 1)) throw fail(`weight of ${id}`);
    if (typeof paused !== 'boolean') throw fail(`pause of ${id}`);
  }
  if (desired.warm !== undefined && !Array.isArray(desired.warm)) throw fail('warm is no list');
  for (const { app, component, count, size } of desired.warm ?? []) {
    const named = `${app}-${component}-0`;
    if (!ID.test(named)) throw fail(`warm ${named}`);
    const counted = Number.isSafeInteger(count) && count >= 0 && count <= LIMITS.warmPerComponentMax;
    if (!counted || !(size?.cpu > 0) || !(size.memory > 0)) throw fail(`warm ${app}/${component}`);
  }
  if (desired.elsewhere !== undefined && !Array.isArray(desired.elsewhere)) throw fail('elsewhere is no list');
  for (const { host, address, instances } of desired.elsewhere ?? []) {
    if (typeof host !== 'string' || host === '' || !(address === null || typeof address === 'string')) {
      throw fail('a host elsewhere has no name or a wrong address');
    }
    if (!Array.isArray(instances)) throw fail(`instances of ${host}`);
    for (const { id, app, component } of instances) {
      if (typeof id !== 'string' || !ID.test(id) || !id.startsWith(`${app}-${component}-`)) {
        throw fail(`instance id ${id} of ${host}`);
      }
    }
  }
  for (const [app, components] of Object.entries(desired.apps)) {
    if (!isMap(components)) throw fail(`app ${app}`);
    for (const [name, { command, calls, ports, source }] of Object.entries(components)) {
      const complete = Array.isArray(command) && Array.isArray(calls) && Array.isArray(ports) && isMap(source);
      if (!complete) throw fail(`component ${app}/${name}`);
    }
  }
  if (desired.secrets !== undefined && !isMap(desired.secrets)) throw fail('secrets are no map');
  for (const [app, values] of Object.entries(desired.secrets ?? {})) {
    if (!isMap(values)) throw fail(`secrets of ${app}`);
    for (const [name, value] of Object.entries(values)) {
      if (!SECRET.test(name) || typeof value !== 'string') throw fail(`a secret of ${app}`);
    }
  }
  for (const [key, map] of Object.entries(desired.shards)) {
    if (!Array.isArray(map.owners) || map.owners.length > LIMITS.shardCountMax) throw fail(`state shards of ${key}`);
  }
  if (desired.copies !== undefined && !isMap(desired.copies)) throw fail('copies are no map');
  for (const [name, record] of Object.entries(desired.copies ?? {})) {
    if (!isCopyName(name) || !isCopyRecord(record)) throw fail(`the copies of state shard ${name}`);
  }
  return desired;
}

/**
 * The desired state after a change, looked at as a whole one is; null when the change is of another state. What was there before
 * has been looked at: while state moves, changes are of one record in hundreds.
 */
export function parseChanged(held: Desired, value: unknown): Desired | null {
  const change = value as DesiredChange;
  const fail = (what: string) => new ShoalError('SHOAL_E_FRAME', `change of the desired state: ${what}`);
  if (!isMap(value)) throw fail('is not a map');
  const { from, revision, apps = {}, shards = {}, copies = {}, secrets = {} } = change;
  const { instances = [], removed = [], warm = [], elsewhere = [] } = change;
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(revision)) throw fail('has no revisions');
  const lists = [instances, removed, warm, elsewhere];
  const maps = [apps, shards, copies, secrets];
  if (!maps.every(isMap) || !lists.every((each) => Array.isArray(each))) throw fail('has a wrong shape');
  const after = withChange(held, change);
  if (after === null || after === held) return after;
  parseDesired({
    revision,
    apps: present(apps),
    instances,
    shards: present(shards),
    warm,
    elsewhere,
    copies: present(copies),
    secrets: present(secrets),
  } satisfies Desired);
  return after;
}

/** Without those that are gone. */
function present<T>(changed: Readonly<Record<string, T | null>>): Record<string, T> {
  return Object.fromEntries(Object.entries(changed).filter((entry): entry is [string, T] => entry[1] !== null));
}

/** Records do not change. */
const recordTexts = new WeakMap<CopyRecord, string>();

/** As JSON, for the disk. Records are many, and those that are as before are not written out again. */
export function desiredText({ copies = {}, ...others }: Desired): string {
  const records = Object.entries(copies).map(([name, record]) => {
    let text = recordTexts.get(record);
    if (text === undefined) {
      text = JSON.stringify(record);
      recordTexts.set(record, text);
    }
    return `${JSON.stringify(name)}:${text}`;
  });
  return `${JSON.stringify(others).slice(0, -1)},"copies":{${records.join(',')}}}`;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
