import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import { runTool } from '../run-tool.js';
import type { StoreDisk } from './disk.js';
import { type Digest, manifestOfIndex } from './oci.js';

const FETCH_MS_MAX = 600_000;
/** Where skopeo can get an image from (containers-transports(5)). */
const TRANSPORTS = ['containers-storage', 'dir', 'docker', 'docker-archive', 'docker-daemon', 'oci', 'oci-archive'];

/** Brings an image's blobs into the store, those that are not yet there; answers the digest of its manifest. */
export async function fetchImage(disk: StoreDisk, reference: string): Promise<Digest> {
  const layout = await disk.makePartial();
  try {
    const words = ['copy', '--quiet', '--dest-shared-blob-dir', disk.blobs, sourceOf(reference), `oci:${layout}:image`];
    await runTool('skopeo', words, FETCH_MS_MAX, 'SHOAL_E_START', { dieWithUs: true });
    return manifestOfIndex(await readFile(join(layout, 'index.json'), 'utf8'));
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error;
    throw new ShoalError(error.code, messageOf(error.message), { cause: error });
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
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
