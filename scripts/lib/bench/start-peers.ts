import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readdir, readFile, rm, watch, writeFile } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { findCrun } from '../../../agent/host.js';
import { mountedAt } from '../../../agent/isolate.js';
import { runTool } from '../../../agent/run-tool.js';
import { FABRIC_SOCKET } from '../../../protocol/control.js';
import type { InstanceView } from '../../../protocol/http.js';
import type { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import type { NodeImage } from './node-image.js';

const TOOL_MS_MAX = 120_000;
const END_MS_MAX = 30_000;
const PODMAN_IMAGE = 'localhost/bench:v1';
const SOCKETS_INSIDE = '/run/shoal';

/** Another way to start the process of an instance. */
export interface StartPeer {
  /** As rows name it. */
  name: string;
  /** The command that starts it, in the foreground, and the one that ends it, whereupon nothing of it is left. */
  words(bundle: string, container: string): Promise<{ run: string[]; end: string[] }>;
  /** Lets go of what all its starts share. */
  close(): Promise<void>;
}

interface Config {
  process: { env: string[]; rlimits: { type: string; soft: number; hard: number }[] };
  root: { path: string };
  linux: { uidMappings: { hostID: number }[]; resources?: object };
  mounts: { destination: string; source: string }[];
}

/** `crun run` of the bundle. */
export function crunPeer(folder: string): StartPeer {
  return runtimePeer('crun run', [findCrun(), '--root', join(folder, 'crun'), '--cgroup-manager=disabled']);
}

/** Those that are installed here of `crun run`, `runc run` and `podman run` with the same image; what is missing is said. */
export async function imagePeers(folder: string, image: NodeImage): Promise<StartPeer[]> {
  const peers = [crunPeer(folder)];
  const runc = findTool('runc');
  if (runc !== null) peers.push(runtimePeer('runc run', [runc, '--root', join(folder, 'runc')]));
  const podman = findTool('podman');
  if (podman !== null) peers.push(await podmanPeer(podman, folder, image));
  return peers;
}

/** A runtime that takes bundles by the OCI runtime specification. */
function runtimePeer(name: string, base: string[]): StartPeer {
  return {
    name,
    words: async (bundle, container) => ({
      run: [...base, 'run', '--bundle', bundle, container],
      // What runs in the foreground then removes the container itself.
      end: [...base, 'kill', container, 'KILL'],
    }),
    close: async () => undefined,
  };
}

/** podman with the image in a store of its own; it is given what the bundle says of environment, limits and sockets. */
async function podmanPeer(podman: string, folder: string, image: NodeImage): Promise<StartPeer> {
  const [root, runRoot] = [join(folder, 'podman'), join(folder, 'podman-run')];
  const stores = ['--storage-driver=overlay', '--root', root, '--runroot', runRoot];
  const tmp = ['--tmpdir', join(folder, 'podman-tmp')];
  const base = [podman, ...stores, ...tmp, '--cgroup-manager=cgroupfs', '--runtime', findCrun()];
  // podman itself takes no layout in a folder with capital letters in its name.
  const target = `containers-storage:[overlay@${root}+${runRoot}]${PODMAN_IMAGE}`;
  await runTool('skopeo', ['copy', '--quiet', image.reference, target], TOOL_MS_MAX, 'SHOAL_E_HOST');
  return {
    name: 'podman run',
    words: async (bundle, container) => {
      const { process: inside, mounts } = await readConfig(bundle);
      const sockets = mounts.find(({ destination }) => destination === SOCKETS_INSIDE)?.source ?? '';
      const env = inside.env.flatMap((each) => ['--env', each]);
      const ulimits = inside.rlimits.flatMap(({ type, soft, hard }) => {
        return ['--ulimit', `${type.slice('RLIMIT_'.length).toLowerCase()}=${soft}:${hard}`];
      });
      const limits = [
        '--network=none',
        '--cgroups=disabled',
        '--read-only',
        '--volume',
        `${sockets}:${SOCKETS_INSIDE}`,
      ];
      return {
        run: [...base, 'run', '--name', container, ...limits, ...ulimits, ...env, PODMAN_IMAGE],
        end: [...base, 'rm', '--force', '--time=0', container],
      };
    },
    close: async () => {
      // What cleans up after the last container would make the store anew.
      await retry('podman has ended', END_MS_MAX, async () => {
        if (await isNamedByProcess(root)) throw new Error(`a process works in ${root}`);
      });
      // It mounts that on itself, and leaves it so.
      const own = join(root, 'overlay');
      if (mountedAt(own) !== null) await runTool('umount', [own], TOOL_MS_MAX, 'SHOAL_E_HOST');
    },
  };
}

/** Whether the arguments of another process have it among them. */
async function isNamedByProcess(word: string): Promise<boolean> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    // It may end meanwhile.
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (Number(pid) !== process.pid && words.includes(word)) return true;
  }
  return false;
}

/** The tool's path; null, and a word to who looks, where it is not installed. */
function findTool(name: string): string | null {
  const folders = `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin`.split(delimiter);
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) process.stderr.write(`no rows beside ${name} run: apt-get install ${name}\n`);
  return found ?? null;
}

/** Starts the process of a running instance once more in another way; ms until its socket is there. */
export async function startOnce(host: SoakHost, peer: StartPeer, round: number, root?: string): Promise<number> {
  const folder = join(host.folder, 'peer');
  const sockets = join(folder, 'socket');
  const bundle = await copyBundle(host, folder, sockets, root);
  const socket = join(sockets, basename(FABRIC_SOCKET));
  const { run, end } = await peer.words(bundle, `peer-${round}`);
  const stop = new AbortController();
  const changes = watch(sockets, { signal: stop.signal });
  const start = performance.now();
  const said: Buffer[] = [];
  const [tool = '', ...words] = run;
  const child = spawn(tool, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // Else it would be waited for in vain.
  void ended.then(() => stop.abort());
  try {
    for await (const _ of changes) if (existsSync(socket)) return performance.now() - start;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    const [ender = '', ...those] = end;
    if (!stop.signal.aborted) await runTool(ender, those, END_MS_MAX, 'SHOAL_E_HOST');
    await ended;
  }
  throw new Error(`${peer.name} ended before its process listened: ${Buffer.concat(said)}`);
}

/** The bundle of a running instance, with a folder of sockets of its own and, where that is given, another root. */
async function copyBundle(host: SoakHost, folder: string, sockets: string, root?: string): Promise<string> {
  const [{ id } = { id: '' }] = await host.ask<InstanceView[]>('GET', '/v1/instances');
  const bundle = join(folder, 'bundle');
  for (const path of [bundle, sockets]) await rm(path, { recursive: true, force: true });
  await cp(join(host.run, 'instances', id, 'bundle'), bundle, { recursive: true });
  const config = await readConfig(bundle);
  for (const mount of config.mounts) if (mount.destination === SOCKETS_INSIDE) mount.source = sockets;
  // Of one that was warm: here it shall not wait.
  config.process.env = config.process.env.filter((each) => !each.startsWith('SHOAL_WARM='));
  if (root !== undefined) config.root.path = root;
  // Shoal sets them itself, beside the runtime; one that sets them would need controllers that the host may lack.
  delete config.linux.resources;
  await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
  await mkdir(sockets);
  await chmod(folder, 0o711);
  const owner = config.linux.uidMappings[0]?.hostID ?? 0;
  await chown(sockets, owner, owner);
  return bundle;
}

async function readConfig(bundle: string): Promise<Config> {
  return JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as Config;
}
