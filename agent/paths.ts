import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Where the agent keeps what; every path of the state folder is made here. */
export class Paths {
  /** Tells two agents of one host apart where they share a name space: cgroups and user ids. */
  readonly runHash: string;

  constructor(
    readonly run: string,
    readonly cgroupMount: string = '/sys/fs/cgroup',
  ) {
    this.runHash = createHash('sha256').update(run).digest('hex').slice(0, 8);
  }
  /** Segments of state shards: in memory, and out of the state folder, which may be on a disk. */
  get shared(): string {
    return join('/dev/shm', `shoal-${this.runHash}`);
  }
  get desired(): string {
    return join(this.run, 'desired.json');
  }
  /** The highest term that was obeyed. */
  get term(): string {
    return join(this.run, 'term.json');
  }
  /** Until when singletons may run; read by their shims. */
  get lease(): string {
    return join(this.run, 'lease');
  }
  get lock(): string {
    return join(this.run, 'agent.lock');
  }
  get crunRoot(): string {
    return join(this.run, 'crun');
  }
  get instances(): string {
    return join(this.run, 'instances');
  }
  get apps(): string {
    return join(this.run, 'apps');
  }
  /** A tmpfs of the agent's own. */
  get secrets(): string {
    return join(this.run, 'secrets');
  }
  /** Root file systems that instances share, read-only. */
  get rootfs(): string {
    return join(this.run, 'rootfs');
  }
  /** Bind mounts of folders that unprivileged instances could not reach where they are. */
  get sources(): string {
    return join(this.run, 'sources');
  }
  get snapshots(): string {
    return join(this.run, 'snapshots');
  }
  /** Logs of builds, by their id. */
  get builds(): string {
    return join(this.run, 'builds');
  }
  buildLog(id: string): string {
    return join(this.builds, id, 'log');
  }
  get cgroupRoot(): string {
    return join(this.cgroupMount, 'shoal', this.runHash);
  }
  /** Of the supervisors: out of the service that the agent is, whose processes systemd may kill with it. */
  get shimsCgroup(): string {
    return `${this.cgroupRoot}.shims`;
  }
  /** What builds run in; its name is that of no instance. */
  get buildCgroup(): string {
    return join(this.cgroupRoot, 'build');
  }
  cgroup(id: string): string {
    return join(this.cgroupRoot, id);
  }
  peers(app: string, caller: string): string {
    return join(this.apps, app, 'peers', caller);
  }
  /** Where the sockets behind host ports are linked, out of the instances' reach. */
  ports(app: string, component: string): string {
    return join(this.apps, app, 'ports', component);
  }
  instance(id: string): InstancePaths {
    return new InstancePaths(join(this.instances, id));
  }
}

/** The folder of one instance. */
export class InstancePaths {
  constructor(readonly directory: string) {}
  get record(): string {
    return join(this.directory, 'record.json');
  }
  get lock(): string {
    return join(this.directory, 'lock');
  }
  get shimPid(): string {
    return join(this.directory, 'shim.pid');
  }
  /** Host pid of the container's first process, written by crun. */
  get pid(): string {
    return join(this.directory, 'pid');
  }
  get exit(): string {
    return join(this.directory, 'exit.json');
  }
  get log(): string {
    return join(this.directory, 'log');
  }
  get bundle(): string {
    return join(this.directory, 'bundle');
  }
  get config(): string {
    return join(this.bundle, 'config.json');
  }
  get rootfs(): string {
    return join(this.bundle, 'rootfs');
  }
  /** Bind-mounted at /run/shoal in the instance. */
  get socket(): string {
    return join(this.directory, 'socket');
  }
}
