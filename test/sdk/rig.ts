import { link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ChannelSocket } from '../../agent/channel-socket.js';
import { Channels } from '../../agent/channels.js';
import { Control } from '../../agent/control.js';
import { Segments } from '../../agent/segments.js';
import { native } from '../../native/index.js';
import { type InstanceStats, type Route, type ShardedSettings, STATE_VARIABLE } from '../../protocol/control.js';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { until } from '../../scripts/lib/until.js';
import { App, identityFrom } from '../../sdk/app.js';
import { makeCarrier } from '../../sdk/best-carrier.js';
import type { CarrierKind } from '../../sdk/carrier.js';
import { stateSettings } from '../../sdk/state/settings.js';

/** Of all instances of a rig. */
export const STATE: ShardedSettings = {
  mode: 'partitioned',
  shards: 64,
  shardBytesMax: LIMITS.stateShardBytesDefault,
  valueBytesMax: LIMITS.stateValueBytesDefault,
};
export const ALL_SHARDS = Array.from({ length: STATE.shards }, (_, shard) => shard);

/** An instance as the agent sees it. */
export interface Seat {
  control: Control;
  channels: ChannelSocket;
  component: string;
  id: string;
  folder: string;
  /** What it said of itself last. */
  stats?: InstanceStats;
}

export interface Member extends Seat {
  app: App;
}

/** The test with a rig whose calls go over rings, and again with one whose calls go over Unix sockets. */
export function overBoth(name: string, test: (t: Test, rig: Rig) => Promise<void>): void {
  for (const carrier of ['ring', 'unix'] as const) {
    t.test(`${name} (${carrier})`, async (t) => {
      const rig = await Rig.make(carrier);
      t.teardown(() => rig.close());
      await test(t, rig);
      t.ok(
        rig.carriers().every((each) => each === carrier),
        `all calls went over ${carrier}`,
      );
    });
  }
}

/** Instances of one app in this process, each with the agent's real end of its control connection. */
export class Rig {
  readonly members: Seat[] = [];
  readonly #apps: App[] = [];
  readonly wanted: string[] = [];
  /** Instances that said more to the agent than they may. */
  readonly flooded: string[] = [];
  /** The agent's notes of the channels in shared memory. */
  readonly channels = new Channels(native);
  readonly segments: Segments;

  private constructor(
    readonly folder: string,
    readonly carrier: CarrierKind,
  ) {
    this.segments = new Segments(join(folder, 'segments'));
  }

  static async make(carrier: CarrierKind = 'ring'): Promise<Rig> {
    return new Rig(await mkdtemp('/dev/shm/shoal-sdk-'), carrier);
  }

  /** What calls of members have gone over. */
  carriers(): string[] {
    const all = this.#apps.flatMap((app) => app.peers().flatMap(({ instances }) => instances));
    return [...new Set(all.flatMap(({ carrier }) => (carrier === undefined ? [] : [carrier])))];
  }

  /** Starts an instance whose handlers `setUp` registers. */
  async start(component: string, id: string, setUp: (app: App) => void = () => {}): Promise<Member> {
    let app: App | undefined;
    const seat = await this.seat(component, id, async (env) => {
      const identity = identityFrom(env);
      app = new App(identity, await makeCarrier(identity, env), stateSettings(env));
      app.start();
      this.#apps.push(app);
      setUp(app);
      await app.ready();
    });
    return Object.assign(seat, { app: app as unknown as App });
  }

  /** Starts an instance by `launch`, which gets its environment; resolves when it serves. */
  async seat(component: string, id: string, launch: (env: NodeJS.ProcessEnv) => Promise<void>): Promise<Seat> {
    const folder = join(this.folder, id);
    const peersFolder = join(this.folder, 'peers');
    await mkdir(folder, { recursive: true });
    let becameReady = () => {};
    const ready = new Promise<void>((resolve) => {
      becameReady = resolve;
    });
    const control = new Control(id, {
      waits() {},
      copiesWanted() {},
      hello() {},
      warm() {},
      ready: () => becameReady(),
      stats: (stats) => {
        seat.stats = stats;
      },
      wanted: (name) => this.wanted.push(name),
      flooded: () => this.flooded.push(id),
      closed() {},
    });
    await control.listen(folder, process.geteuid?.() ?? 0);
    const channels = new ChannelSocket(native, {
      connected() {},
      open: (request) => this.channels.open(seat, request, () => this.#member(request.instance)),
      closed: (number) => this.channels.closed(seat, number),
      hungUp() {},
    });
    await channels.listen(folder, process.geteuid?.() ?? 0);
    const seat: Seat = { control, channels, component, id, folder };
    await launch({
      SHOAL_APP: 'a',
      SHOAL_COMPONENT: component,
      SHOAL_INSTANCE: id,
      SHOAL_SOCKET_DIR: folder,
      SHOAL_PEERS_DIR: peersFolder,
      SHOAL_CARRIER: this.carrier,
      [STATE_VARIABLE]: JSON.stringify(STATE),
    });
    await ready;
    this.members.push(seat);
    await mkdir(join(peersFolder, component), { recursive: true });
    await link(join(folder, 'fabric.sock'), join(peersFolder, component, `${id}.sock`));
    return seat;
  }

  #member(instance: string): Seat {
    const member = this.members.find(({ id }) => id === instance);
    if (member === undefined) throw new ShoalError('SHOAL_E_NO_INSTANCE', `${instance} is not there`);
    return member;
  }

  /** Tells all instances where everything is; `hidden` are left out. */
  publish(hidden: string[] = []): void {
    const routes: Record<string, Route> = {};
    for (const { component, id, control } of this.members) {
      if (hidden.includes(id)) continue;
      routes[component] ??= { instances: [] };
      const route = routes[component];
      route.instances.push(id);
      for (const shard of control.shards ?? []) {
        route.owners ??= Array.from({ length: STATE.shards }, () => null);
        if (!control.frozen.includes(shard)) route.owners[shard] = id;
      }
    }
    for (const { control } of this.members) control.sendRoutes(1, routes);
  }

  /** As the agent does it: prepare, freeze, own, switch routes, drop. */
  async move(shard: number, from: Seat, to: Seat): Promise<void> {
    const epoch = await this.send(to, shard);
    await to.control.command({ type: 'shard-prepare', shard, epoch });
    await from.control.command({ type: 'shard-freeze', shard, to: to.id });
    from.control.frozen = [...from.control.frozen, shard];
    await to.control.command({ type: 'shard-own', shard, epoch });
    to.control.shards = [...new Set([...(to.control.shards ?? []), shard])];
    this.publish();
    await from.control.command({ type: 'shard-drop', shard });
    from.control.shards = (from.control.shards ?? []).filter((each) => each !== shard);
    from.control.frozen = from.control.frozen.filter((each) => each !== shard);
  }

  async own(member: Seat, shards: number[]): Promise<void> {
    const own = async (shard: number) =>
      member.control.command({ type: 'shard-own', shard, epoch: await this.send(member, shard) });
    await Promise.all(shards.map(own));
    member.control.shards = shards;
  }

  /** Hands the shard's segment to its next owner; the epoch of that. */
  async send(member: Seat, shard: number): Promise<number> {
    await until(() => member.channels.connected);
    const { fd, epoch } = this.segments.grant('a/index', shard);
    member.channels.send({ type: 'segment', shard, epoch }, [fd]);
    return epoch;
  }

  async close(): Promise<void> {
    for (const app of this.#apps) await app.close();
    for (const { control, channels } of this.members) {
      control.close();
      channels.close();
    }
    process.removeAllListeners('SIGTERM');
    process.removeAllListeners('SIGINT');
    await rm(this.folder, { recursive: true, force: true });
  }
}
