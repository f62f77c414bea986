import { link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Control } from '../../agent/control.js';
import type { Route } from '../../protocol/control.js';
import { App } from '../../sdk/app.js';

export interface Member {
  app: App;
  control: Control;
  component: string;
  id: string;
  folder: string;
}

/** Instances of one app in this process, each with the agent's real end of its control connection. */
export class Rig {
  readonly members: Member[] = [];
  readonly wanted: string[] = [];
  /** Instances that said more to the agent than they may. */
  readonly flooded: string[] = [];
  private constructor(readonly folder: string) {}

  static async make(): Promise<Rig> {
    return new Rig(await mkdtemp(join(tmpdir(), 'shoal-sdk-')));
  }

  /** Starts an instance whose handlers `setUp` registers. */
  async start(component: string, id: string, setUp: (app: App) => void = () => {}): Promise<Member> {
    const socketFolder = join(this.folder, id);
    const peersFolder = join(this.folder, 'peers');
    await mkdir(socketFolder, { recursive: true });
    let becameReady = () => {};
    const ready = new Promise<void>((resolve) => {
      becameReady = resolve;
    });
    const control = new Control(id, {
      hello() {},
      ready: () => becameReady(),
      stats() {},
      wanted: (name) => this.wanted.push(name),
      flooded: () => this.flooded.push(id),
      closed() {},
    });
    await control.listen(socketFolder, process.geteuid?.() ?? 0);
    const app = new App({ app: 'a', component, instance: id, socketFolder, peersFolder });
    setUp(app);
    await app.ready();
    await ready;
    const member = { app, control, component, id, folder: socketFolder };
    this.members.push(member);
    await mkdir(join(peersFolder, component), { recursive: true });
    await link(join(socketFolder, 'fabric.sock'), join(peersFolder, component, `${id}.sock`));
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
        route.owners ??= Array.from({ length: 64 }, () => null);
        if (!control.frozen.includes(shard)) route.owners[shard] = id;
      }
    }
    for (const { control } of this.members) control.sendRoutes(1, routes);
  }

  /** As the agent does it: freeze, install, switch routes, drop. */
  async move(shard: number, from: Member, to: Member): Promise<void> {
    const entries = await from.control.command('shard-freeze', shard);
    from.control.frozen = [...from.control.frozen, shard];
    await to.control.command('shard-install', shard, entries);
    to.control.shards = [...new Set([...(to.control.shards ?? []), shard])];
    this.publish();
    await from.control.command('shard-drop', shard);
    from.control.shards = (from.control.shards ?? []).filter((each) => each !== shard);
    from.control.frozen = from.control.frozen.filter((each) => each !== shard);
  }

  async own(member: Member, shards: number[]): Promise<void> {
    for (const shard of shards) await member.control.command('shard-own', shard);
    member.control.shards = shards;
  }

  async close(): Promise<void> {
    for (const { app, control } of this.members) {
      await app.close();
      control.close();
    }
    process.removeAllListeners('SIGTERM');
    process.removeAllListeners('SIGINT');
    await rm(this.folder, { recursive: true, force: true });
  }
}
