import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import { runTool } from '../run-tool.js';
import type { StoreDisk } from './disk.js';
import { type Digest, isDigest, layersOfInspection, manifestOfIndex, parseManifest } from './oci.js';
import type { Seeds } from './seeds.js';
import { whileGrowing } from './while-growing.js';

/** A fetch from which nothing has come for so long is ended: skopeo may first copy all of an image to a place of its own. */
const SILENT_MS_MAX = 300_000;
/** Of an execFile without a limit. */
const NO_LIMIT_MS = 0;
const INSPECT_MS_MAX = 30_000;
/** Of manifests and configurations, which are read as a whole. */
const DOCUMENT_BYTES_MAX = 16 * 1024 * 1024;
/** Layers of one image that are on their way at once. */
const AT_ONCE = 3;
/** Where skopeo can get an image from (containers-transports(5)). */
const TRANSPORTS = ['containers-storage', 'dir', 'docker', 'docker-archive', 'docker-daemon', 'oci', 'oci-archive'];

/** Brings an image's blobs into the store, those that are not yet there; answers the digest of its manifest. */
export async function fetchImage(disk: StoreDisk, reference: string): Promise<Digest> {
  const layout = await disk.makePartial();
  try {
    const words = ['copy', '--quiet', '--dest-shared-blob-dir', disk.blobs, sourceOf(reference), `oci:${layout}:image`];
    await whileGrowing(layout, SILENT_MS_MAX, (signal) =>
      runTool('skopeo', words, NO_LIMIT_MS, 'SHOAL_E_START', { dieWithUs: true, signal }),
    );
    return manifestOfIndex(await readFile(join(layout, 'index.json'), 'utf8'));
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error;
    throw new ShoalError(error.code, messageOf(error.message), { cause: error });
  } finally {
    await disk.removePartial(layout);
  }
}

/** Only these are worth asking other hosts for: anything else is a file of this host. */
export function isOfRegistry(reference: string): boolean {
  return sourceOf(reference).startsWith('docker://');
}

/** The registry that the reference is of; of files of this host, the reference itself. Pure. */
export function registryOf(reference: string): string {
  const source = sourceOf(reference);
  const host = /^docker:\/\/([^/]*[.:][^/]*|localhost)\//.exec(source)?.[1];
  return isOfRegistry(reference) ? (host ?? 'docker.io') : source;
}

/**
 * Brings blobs of a registry's image into the store from the hosts that have it. Answers the digest of the manifest when
 * nothing more is needed: the reference says which it is, and they had all of it. Else null, and what is missing is the
 * registry's to give: which layers a tag stands for it alone says, so that no host's is ever taken for an old one.
 */
export async function fetchFromSeeds(
  disk: StoreDisk,
  reference: string,
  seeds: Pick<Seeds, 'bring'>,
  bytesMax: number,
): Promise<Digest | null> {
  const pinned = digestIn(reference);
  if (pinned !== null) {
    const came = await takeWhole(disk, pinned, seeds, bytesMax);
    if (came !== 'unknown') return came === 'whole' ? pinned : null;
  }
  const said = await inspect(reference);
  if (said !== null) await bringAll(layersOfInspection(said), seeds, bytesMax);
  return null;
}

/** Brings the image of this manifest from hosts that have it; `unknown`: none gives a manifest that says which blobs it has. */
export async function takeWhole(
  disk: StoreDisk,
  manifest: Digest,
  seeds: Pick<Seeds, 'bring'>,
  bytesMax: number,
): Promise<'whole' | 'part' | 'unknown'> {
  const blobs = (await seeds.bring(manifest, DOCUMENT_BYTES_MAX)) ? await blobsOf(disk, manifest) : null;
  if (blobs === null) return 'unknown';
  return (await bringAll(blobs, seeds, bytesMax)) ? 'whole' : 'part';
}

/** What the manifest names; null when it is damaged or a list of manifests for several kinds of hosts. */
export async function blobsOf(disk: StoreDisk, manifest: Digest): Promise<Digest[] | null> {
  const text = await disk.readDocument(manifest);
  if (text === null) return null;
  try {
    const { config, layers } = parseManifest(text);
    return [config, ...layers.map(({ blob }) => blob)];
  } catch (error) {
    if (error instanceof ShoalError) return null;
    throw error;
  }
}

async function bringAll(blobs: readonly Digest[], seeds: Pick<Seeds, 'bring'>, bytesMax: number): Promise<boolean> {
  const left = [...new Set(blobs)];
  let whole = true;
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      if (!(await seeds.bring(next, bytesMax))) whole = false;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return whole;
}

/** What the registry says of the image; null when it does not answer: fetching will say why. */
async function inspect(reference: string): Promise<string | null> {
  const words = ['inspect', '--no-tags', sourceOf(reference)];
  try {
    return await runTool('skopeo', words, INSPECT_MS_MAX, 'SHOAL_E_START', { dieWithUs: true });
  } catch (error) {
    if (error instanceof ShoalError) return null;
    throw error;
  }
}

/** `name@sha256:…` */
function digestIn(reference: string): Digest | null {
  const digest = reference.slice(reference.lastIndexOf('@') + 1);
  return isDigest(digest) ? digest : null;
}

/** The reference as skopeo wants it; what names no transport is of a registry, as `debian:12` or `host:5000/name`. */
export function sourceOf(reference: string): string {
  return TRANSPORTS.some((each) => reference.startsWith(`${each}:`)) ? reference : `docker://${reference}`;
}

/** What skopeo says in its log format, without time and level. */
export function messageOf(said: string): string {
  const quoted = /\bmsg=("(?:[^"\\]|\\.)*")/.exec(said)?.[1];
  return quoted === undefined ? said : `skopeo: ${JSON.parse(quoted)}`;
}
