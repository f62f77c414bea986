import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Identity } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { assertLabel, readLabels } from '../protocol/labels.js';
import { LIMITS } from '../protocol/limits.js';
import { isLocal, parseAddress } from './coordinators.js';
import { assertHostAddress } from './host-listener.js';

export const USAGE = `usage: shoal-agent [--socket PATH]… [--run DIR] [--name NAME] [--label KEY=VALUE]… [--taint NAME]…
                   [--images DIR] [--images-bytes N] [--images-upload N] [--build-base REF] [--stop-instances] [--profile-hertz N]
                   [--profiles DIR] [--snapshots DIR] [--snapshots-bytes N] [--system-calls] [--probe-memory] [--fabric ADDRESS:PORT] [--fabric-plain]
  --socket PATH     where a coordinator takes agents: a Unix socket (default /run/shoal/coordinator.sock) or HOST:PORT;
                    may be given again for coordinators of other hosts, which are tried in turns
  --identity DIR    certificate to show to coordinators of other hosts, by \`shoal cert agent\`
  --run DIR         state folder, on a file system that a restart of the agent survives (default /run/shoal)
  --name NAME       name of this host (default its hostname)
  --label KEY=VALUE a label of this host for the rules of manifests, such as zone=rack-3; may be given again
  --taint NAME      keeps instances away whose component does not tolerate it; may be given again
  --images DIR      image store, on a disk that has room (default images in the state folder)
  --images-bytes N  images that nobody uses are removed when the store is bigger (default ${LIMITS.imageStoreBytesMax})
  --images-upload N  bytes in a second that other hosts are given of images, all together (default ${LIMITS.imageUploadBytesDefault})
  --build-base REF  image below the builds of projects without a Containerfile (default: this host's own root)
  --stop-instances  end all instances when the agent is told to stop; otherwise they go on
  --profile-hertz N how often in a second of CPU time a stack is taken (default ${LIMITS.profileHertzDefault}; 0: never)
  --profiles DIR    where profiles are kept (default profiles in the state folder)
  --snapshots DIR   where snapshots of state are kept, on a disk that outlives the host's memory (default snapshots in the
                    state folder)
  --snapshots-bytes N  what they may take together (default ${LIMITS.stateSnapshotsBytesMax})
  --system-calls    count system calls and their time too: on this host each then takes some 0.2 µs longer, of instances 0.4 µs
  --probe-memory    find out how little memory instances can live in, by taking back what they do not miss: a little each
                    6 s until somebody waits for it
  --fabric ADDRESS:PORT  where agents of other hosts reach this one, for calls between hosts: an IP address of this host
                    and two ports, that one and the next (default 127.0.0.1:0, any: only from this machine)
  --fabric-plain    only hosts of this cluster can reach that address: calls between this host and others that say the
                    same are not encrypted, and may go by RDMA, which nothing here encrypts`;

export interface Options {
  coordinators: string[];
  identity: Identity | null;
  run: string;
  name: string;
  labels: Record<string, string>;
  taints: string[];
  images: string;
  imagesBytes: number;
  imagesUpload: number;
  /** Null: the host's own root. */
  buildBase: string | null;
  stopInstances: boolean;
  profileHertz: number;
  systemCalls: boolean;
  probeMemory: boolean;
  profiles: string;
  snapshots: { folder: string; bytesMax: number };
  fabric: { address: string; port: number; plain: boolean };
}

/** Null: help is asked for. Throws SHOAL_E_USAGE. */
export function readOptions(words: string[]): Options | null {
  try {
    const { values } = parseArgs({
      args: words,
      options: {
        socket: { type: 'string', multiple: true, default: ['/run/shoal/coordinator.sock'] },
        identity: { type: 'string' },
        run: { type: 'string', default: '/run/shoal' },
        name: { type: 'string', default: hostname() },
        label: { type: 'string', multiple: true, default: [] },
        taint: { type: 'string', multiple: true, default: [] },
        images: { type: 'string' },
        'images-bytes': { type: 'string', default: String(LIMITS.imageStoreBytesMax) },
        'images-upload': { type: 'string', default: String(LIMITS.imageUploadBytesDefault) },
        'build-base': { type: 'string' },
        'stop-instances': { type: 'boolean', default: false },
        'profile-hertz': { type: 'string', default: String(LIMITS.profileHertzDefault) },
        profiles: { type: 'string' },
        snapshots: { type: 'string' },
        'snapshots-bytes': { type: 'string', default: String(LIMITS.stateSnapshotsBytesMax) },
        fabric: { type: 'string', default: '127.0.0.1:0' },
        'fabric-plain': { type: 'boolean', default: false },
        'system-calls': { type: 'boolean', default: false },
        'probe-memory': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return null;
    const { images = join(values.run, 'images') } = values;
    const imagesBytes = Number(values['images-bytes']);
    if (!Number.isSafeInteger(imagesBytes) || imagesBytes < 1) {
      throw new Error(`--images-bytes must be a whole number of bytes, not ${values['images-bytes']}`);
    }
    const imagesUpload = Number(values['images-upload']);
    if (!Number.isSafeInteger(imagesUpload) || imagesUpload < LIMITS.imageUploadBytesMin) {
      const least = `at least ${LIMITS.imageUploadBytesMin}, with less those who fetch would give this host up`;
      throw new Error(
        `--images-upload must be a whole number of bytes in a second, ${least}; not ${values['images-upload']}`,
      );
    }
    for (const [name, path] of [
      ['--run', values.run],
      ['--images', images],
      ['--profiles', values.profiles ?? '/'],
      ['--snapshots', values.snapshots ?? '/'],
    ] as const) {
      if (!path.startsWith('/')) throw new Error(`${name} must be an absolute path, not ${path}`);
    }
    for (const each of values.socket.filter((address) => !isLocal(parseAddress(address)))) {
      if (values.identity === undefined) throw new Error(`${each} is on another host: give an --identity`);
    }
    const identity = values.identity === undefined ? null : new Identity(values.identity);
    const { socket: coordinators, run, name, taint: taints, 'stop-instances': stopInstances } = values;
    for (const taint of taints) assertLabel('--taint', taint);
    const { profiles = join(run, 'profiles'), 'profile-hertz': hertz } = values;
    const [labels, profileHertz] = [readLabels(values.label), readHertz(hertz)];
    const measured = {
      profileHertz,
      profiles,
      systemCalls: values['system-calls'],
      probeMemory: values['probe-memory'],
    };
    const where = { coordinators, identity, run, name, labels, taints };
    const snapshotsBytes = Number(values['snapshots-bytes']);
    if (!Number.isSafeInteger(snapshotsBytes) || snapshotsBytes < 1) {
      throw new Error(`--snapshots-bytes must be a whole number of bytes, not ${values['snapshots-bytes']}`);
    }
    const snapshots = { folder: values.snapshots ?? join(run, 'snapshots'), bytesMax: snapshotsBytes };
    const buildBase = readBase(values['build-base']);
    const fabric = { ...readFabric(values.fabric), plain: values['fabric-plain'] };
    assertHostAddress(fabric.address, { identified: identity !== null, plain: fabric.plain });
    return { ...where, ...measured, snapshots, images, imagesBytes, imagesUpload, buildBase, stopInstances, fabric };
  } catch (error) {
    throw new ShoalError('SHOAL_E_USAGE', `${(error as Error).message}\n${USAGE}`);
  }
}

/** It becomes a line of a Containerfile. */
function readBase(reference: string | undefined): string | null {
  if (reference === undefined) return null;
  if (/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/.test(reference)) return reference;
  throw new Error(`--build-base must be the reference of an image, not ${reference}`);
}

function readFabric(text: string): { address: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  // The relay listens on the next one.
  if (address !== undefined && port <= 65_534) return { address, port };
  throw new Error(`--fabric must be ADDRESS:PORT, an IP address and a port up to 65534, not ${text}`);
}

/** What `--profile-hertz` says: 0 for no stacks. Throws an Error that says what is wrong with it. */
export function readHertz(text: string): number {
  const hertz = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (hertz <= LIMITS.profileHertzMax) return hertz;
  throw new Error(`--profile-hertz must be a whole number from 0 to ${LIMITS.profileHertzMax}, not ${text}`);
}
