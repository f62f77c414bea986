import { dirname } from 'node:path';
import { CONTROL_SOCKET, PEERS_FOLDER } from '../protocol/control.js';
import { LIMITS } from '../protocol/limits.js';
import { PIDS_MAX } from './cgroup.js';
import { seccompProfile } from './seccomp.js';
import { TERMINALS_FOLDER } from './terminal.js';

/** Terminals of one instance: as many as commands that people can run in it. */
const TERMINALS_MAX = LIMITS.execsPerHostMax;

/** What the OCI configuration of one instance is made of; every path absolute on the host. */
export interface BundleInput {
  id: string;
  app: string;
  component: string;
  command: string[];
  env: Record<string, string>;
  /** Folder inside, in which the command starts. */
  workingFolder: string;
  rootfs: string;
  /** First host uid and gid of the instance's own range, and the length of the range. */
  ids: { base: number; count: number };
  /** Folder bind-mounted at /run/shoal. */
  socketFolder: string;
  /** Folder bind-mounted read-only at /run/shoal-peers. */
  peersFolder: string;
  /** Whether the host allows a user namespace; without it the command runs as the first of the ids itself. */
  userNamespace: boolean;
  /** Limit of open files. */
  openFiles: number;
  /** More to bind, read-only. */
  binds: { source: string; target: string }[];
}

const PATH = '/opt/shoal/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const OPEN_FILES_MAX = 65_536;

/** As many open files as an instance may have: what this process may give, by /proc/self/limits (proc(5)). */
export function openFilesMax(limits: string): number {
  const hard = /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec(limits)?.[1];
  return hard === undefined || hard === 'unlimited' ? OPEN_FILES_MAX : Math.min(OPEN_FILES_MAX, Number(hard));
}
const MASKED = ['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'];
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'];
const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'];

/** The bundle's config.json by the OCI runtime specification 1.0: unprivileged in every respect. */
export function bundleConfig(input: BundleInput): object {
  const env = {
    PATH,
    HOME: '/tmp',
    ...input.env,
    SHOAL_APP: input.app,
    SHOAL_COMPONENT: input.component,
    SHOAL_INSTANCE: input.id,
  };
  const user = input.userNamespace ? 0 : input.ids.base;
  const namespaces = input.userNamespace ? [...NAMESPACES, 'user'] : NAMESPACES;
  const mapping = [{ containerID: 0, hostID: input.ids.base, size: input.ids.count }];
  const bind = (source: string, destination: string, access: 'ro' | 'rw') => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', access, 'nosuid', 'nodev', 'rprivate'],
  });
  const memory = (destination: string, size: string, mode: string) => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'nodev', 'noexec', `mode=${mode}`, `size=${size}`],
  });
  return {
    ociVersion: '1.0.2',
    hostname: input.id.slice(0, 63),
    root: { path: input.rootfs, readonly: true },
    process: {
      terminal: false,
      user: { uid: user, gid: user, umask: 0o022 },
      cwd: input.workingFolder,
      args: input.command,
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: input.openFiles, hard: input.openFiles },
        { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        // Holds also where the host has no pids controller: the users of an instance are its own.
        { type: 'RLIMIT_NPROC', soft: PIDS_MAX, hard: PIDS_MAX },
      ],
      noNewPrivileges: true,
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      {
        destination: TERMINALS_FOLDER,
        type: 'devpts',
        source: 'devpts',
        // All instances together have 3,072: kernel.pty.max without kernel.pty.reserve, which stays the host's.
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', `max=${TERMINALS_MAX}`],
      },
      memory('/dev/shm', '64m', '1777'),
      memory('/tmp', '256m', '1777'),
      ...input.binds.map(({ source, target }) => bind(source, target, 'ro')),
      bind(input.socketFolder, dirname(CONTROL_SOCKET), 'rw'),
      bind(input.peersFolder, PEERS_FOLDER, 'ro'),
    ],
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      ...(input.userNamespace ? { uidMappings: mapping, gidMappings: mapping } : {}),
      maskedPaths: [...MASKED.map((name) => `/proc/${name}`), '/sys/firmware'],
      readonlyPaths: READ_ONLY.map((name) => `/proc/${name}`),
      resources: { pids: { limit: PIDS_MAX } },
      seccomp: seccompProfile(),
    },
  };
}
