import type { Cache, Component, IoLimit, Manifest, Objective, Probe, Source } from './manifest.js';
import type { UserComponent, UserIo, UserManifest, UserProbe, UserState } from './manifest-build.js';

/**
 * The complete manifest in the form that people write, nothing left to defaults: parseManifest of its JSON gives the
 * same manifest again. The CLI sends this, so that the coordinator checks what it gets by the very same rules.
 */
export function toUserForm(manifest: Manifest): UserManifest {
  const components = Object.entries(manifest.components).map(([name, component]): [string, UserComponent] => {
    const user: UserComponent = {
      ...sourceForm(component.source),
      env: component.env,
      count: component.count,
      size: component.size,
      objective: objectiveForm(component.objective),
      state: stateForm(component),
      season: seasonForm(component.seasonSeconds),
      calls: component.calls,
      ports: component.ports,
    };
    if (component.budget !== undefined) user.budget = component.budget;
    if (component.mode !== undefined) user.mode = component.mode;
    if (component.priority !== undefined) user.priority = component.priority;
    if (component.place !== undefined) user.place = component.place;
    if (component.warm !== undefined) {
      const { warm: max, warmMin: min } = component;
      user.warm = min === undefined ? max : { min, max };
    }
    if (component.io !== undefined) user.io = ioForm(component.io);
    if (component.exclusive !== undefined) user.exclusive = component.exclusive;
    if (component.singleton !== undefined) user.singleton = component.singleton;
    if (component.secrets !== undefined) user.secrets = component.secrets;
    if (component.ready !== undefined) user.ready = probeForm(component.ready);
    if (component.alive !== undefined) user.alive = probeForm(component.alive);
    if (component.command.length > 0) user.command = component.command;
    return [name, user];
  });
  const user: UserManifest = { app: manifest.app, components: Object.fromEntries(components) };
  if (manifest.budget !== undefined) user.budget = manifest.budget;
  return user;
}

function ioForm({ readBytes: read, writeBytes: write, ...rest }: IoLimit): UserIo {
  return { ...(read === undefined ? {} : { read }), ...(write === undefined ? {} : { write }), ...rest };
}

function probeForm({ asks, everyMs, timeoutMs, failures }: Probe): UserProbe {
  const often = { every: `${everyMs}ms`, timeout: `${timeoutMs}ms`, failures };
  if (asks.kind === 'http') return { http: asks.path, port: asks.port, ...often };
  if (asks.kind === 'tcp') return { tcp: asks.port, ...often };
  return asks.kind === 'exec' ? { exec: asks.command, ...often } : { fabric: true, ...often };
}

function sourceForm(source: Source): Pick<UserComponent, 'rootfs' | 'directory' | 'image' | 'build'> {
  if (source.kind === 'build') {
    const { build: from, ref, path } = source;
    if (ref === undefined && path === undefined) return { build: from };
    return { build: { from, ...(ref === undefined ? {} : { ref }), ...(path === undefined ? {} : { path }) } };
  }
  const { kind: _, ...form } = source;
  return form;
}

function objectiveForm(objective: Objective): NonNullable<UserComponent['objective']> {
  if (objective.kind === 'queue') return { queue: objective.length };
  if (objective.kind === 'utilisation') return { utilisation: objective.target };
  return { latency: { [`p${objective.percentile}`]: `${objective.targetMs}ms` } };
}

function stateForm({ state, partition, cache }: Component): NonNullable<UserComponent['state']> {
  if (cache !== undefined) return { mode: state, ...cacheForm(cache) };
  if (partition === undefined) return state;
  const { shards, shardBytesMax, valueBytesMax, replicas, snapshotMs, stalenessMs } = partition;
  const copies = {
    ...(replicas === undefined ? {} : { replicas }),
    ...(snapshotMs === undefined ? {} : { snapshot: { every: `${snapshotMs}ms` } }),
    ...(stalenessMs === undefined ? {} : { reads: { staleness: `${stalenessMs}ms` } }),
  };
  const limits = { shardMemory: shardBytesMax, value: valueBytesMax };
  // It has one shard, which is not to be said, and a replica unless told.
  if (state === 'replicated') return { mode: state, ...limits, replicas: 0, ...copies };
  return { mode: state, shards, ...limits, ...copies };
}

function cacheForm({ servers, isCluster, valueBytesMax, near, user, password, ca }: Cache): Omit<UserState, 'mode'> {
  const [server = ''] = servers;
  const form: Omit<UserState, 'mode'> = { value: valueBytesMax, ...(isCluster ? { cluster: servers } : { server }) };
  if (user !== undefined) form.user = user;
  if (password !== undefined) form.password = password;
  if (ca !== undefined) form.ca = ca;
  if (near !== undefined) form.near = { memory: near.bytesMax, entries: near.entriesMax };
  return form;
}

function seasonForm(seconds: number | undefined): string {
  if (seconds === undefined) return 'auto';
  return seconds === 0 ? 'off' : `${seconds}s`;
}
