import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { NativeHost } from '../../native/index.js';
import { ShoalError } from '../../protocol/errors.js';
import { isBuildReference, type Seed } from '../../protocol/link.js';
import { mountReadOnly } from '../overlay.js';
import { runTool } from '../run-tool.js';
import { removalFor, type StockImage } from './collection.js';
import type { ImageCounts } from './counts.js';
import { StoreDisk } from './disk.js';
import { blobsOf, fetchFromSeeds, fetchImage, isOfRegistry, registryOf, takeWhole } from './fetch.js';
import { Fetched } from './fetched.js';
import { type Digest, hexOf, type ImageConfig, type ImageManifest, parseConfig, parseManifest } from './oci.js';
import { type SeedSource, Seeds } from './seeds.js';
import { ARCHIVE_DAMAGED, UNPACK_PROGRAM, type UnpackOrder } from './unpack.js';

/** A failed image is not tried again sooner. */
const RETRY_MS = 5_000;
const FETCHES_MAX = 3;
/** An image waits no longer for the one before it of the same registry, which may be slow; layers that both have may come twice then. */
const TURN_MS_MAX = 30_000;
const NOBODY = { hosts: [] };
const UNPACK_MS_MAX = 600_000;

/** Ways to bring an image into the store. Each answers the digest of its manifest. */
export interface Ways {
  fetch(from: string): Promise<Digest>;
  /** Null when those hosts do not give all of it. */
  take(manifest: Digest, hosts: readonly Seed[]): Promise<Digest | null>;
}
/** Brings an image by one of these, and answers what it is. */
export type Bring = (ways: Ways) => Promise<Digest>;

/** How an image is had. */
export interface Getting {
  /** Asked when the store lacks it; the reference is then only a name. Absent: from where the reference says. */
  bring?: Bring;
  /** Told, for people, what was fetched for it and from where, unless nothing was. */
  told?(text: string): void;
}

/** What instances of an image have in common. */
export interface Image {
  /** Of its manifest. */
  digest: Digest;
  /** Its layers over one another, read-only. */
  rootfs: string;
  command: string[];
  env: Record<string, string>;
  workingFolder: string;
  /** The number of the signal that asks its process to end; absent: SIGTERM. */
  stopSignal?: number;
  /** Its root has the host's system folders mounted on it. */
  onHost: boolean;
}

export interface StoreOptions {
  folder: string;
  /** Where roots are mounted; below folders that every user can pass. */
  mounts: string;
  /** Folders that every root needs and no image brings, such as the one that the control socket is bound to. */
  mountPoints: () => Promise<string>;
  /** The same for images to which the host's own system folders belong. */
  hostSkeleton: () => Promise<string>;
  bytesMax: number;
  clock: () => number;
  log: Logger;
  counts: ImageCounts;
  native: Pick<NativeHost, 'unmount'>;
  /** Absent: nothing is fetched from other hosts. */
  seeds?: SeedSource;
}

/** The whole of an image that is in the store. */
interface Parts {
  digest: Digest;
  manifest: ImageManifest;
  config: ImageConfig;
}

/**
 * OCI images of this host: each blob fetched and each layer unpacked once, whatever images and instances use it, and
 * the root of an image mounted once for all its instances. What a holder has asked for stays until it is released; the
 * rest goes, longest unused first, when the store is bigger than its bound.
 */
export class ImageStore {
  readonly #options: StoreOptions;
  readonly #disk: StoreDisk;
  /** Holder → reference. */
  readonly #held = new Map<string, string>();
  /** Images that are ready or on their way. */
  readonly #images = new Map<string, Promise<Image>>();
  readonly #loading = new Set<string>();
  readonly #coming = new Map<Digest, Promise<boolean>>();
  /** Registry → the last fetch from it that is under way or waits; resolves when it is over, whatever came of it. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #layers = new Map<Digest, Promise<boolean>>();
  readonly #mounts = new Map<Digest, Promise<string>>();
  readonly #failed = new Map<string, { error: ShoalError; atMs: number }>();
  #collecting: Promise<void> = Promise.resolve();

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#disk = new StoreDisk(options.folder);
  }

  /** Removes what an earlier agent was in the middle of. */
  open(): Promise<void> {
    return this.#disk.open();
  }

  /** The image will not be removed before the holder is released. */
  hold(reference: string, holder: string): void {
    this.#held.set(holder, reference);
  }

  release(holder: string): void {
    const reference = this.#held.get(holder);
    this.#held.delete(holder);
    if (reference === undefined || this.#isHeld(reference)) return;
    void this.#inTurn(() => this.#touch(reference));
    void this.collect();
  }

  /**
   * The image for its holder, such as `docker://docker.io/library/debian:12` or `oci:/path:tag`. Of several who wait for the
   * same one the first says how it is had.
   */
  get(reference: string, holder: string, getting: Getting = {}): Promise<Image> {
    this.hold(reference, holder);
    const known = this.#images.get(reference);
    if (known !== undefined) return known;
    const failed = this.#failed.get(reference);
    if (failed !== undefined && this.#options.clock() - failed.atMs < RETRY_MS) return Promise.reject(failed.error);
    const loading = this.#load(reference, getting);
    this.#images.set(reference, loading);
    return loading;
  }

  async #load(reference: string, getting: Getting): Promise<Image> {
    this.#loading.add(reference);
    try {
      await this.#collecting;
      const parts = await this.#find(reference, getting);
      const rootfs = await this.#mount(parts);
      const { layers: _, ...config } = parts.config;
      this.#failed.delete(reference);
      return { digest: parts.digest, rootfs, ...config };
    } catch (error) {
      this.#images.delete(reference);
      if (!(error instanceof ShoalError)) throw error;
      // Builds say by themselves what they are about.
      const what = isBuildReference(reference) ? '' : `image ${reference}: `;
      const told = new ShoalError(error.code, `${what}${error.message}`, { cause: error });
      // What was cancelled may be asked for again at once.
      if (told.code !== 'SHOAL_E_CANCELLED') this.#failed.set(reference, { error: told, atMs: this.#options.clock() });
      throw told;
    } finally {
      this.#loading.delete(reference);
      void this.collect();
    }
  }

  /** By what is in the store, else from where the reference says. */
  async #find(reference: string, { bring, told }: Getting): Promise<Parts> {
    const record = await this.#disk.readImage(reference);
    const known = record === null ? null : await this.#assemble(record.manifest);
    if (known !== null) return known;
    const fetched = new Fetched();
    const ways: Ways = {
      fetch: (from) => fetchImage(this.#disk, from),
      take: (manifest, hosts) => this.#take(manifest, hosts, fetched),
    };
    const begunMs = this.#options.clock();
    // What was there and is damaged is found, and removed, only as it is read: manifest, then configuration, then layers.
    for (let fetches = 0; fetches < FETCHES_MAX; fetches += 1) {
      const manifest = await (bring === undefined ? this.#fetch(reference, fetched) : bring(ways));
      const parts = await this.#assemble(manifest);
      if (parts === null) continue;
      // Last of all: what has a record is whole.
      const { layers } = parts.config;
      await this.#disk.writeImage({ format: 1, reference, manifest, usedMs: this.#options.clock(), layers });
      const text = fetched.text(
        parts.manifest.layers.map(({ blob }) => blob),
        this.#options.clock() - begunMs,
      );
      if (text !== null) told?.(text);
      return parts;
    }
    throw new ShoalError('SHOAL_E_START', 'what was fetched is damaged');
  }

  /** From hosts that have it what they have, and the rest from where the reference says. */
  async #fetch(reference: string, fetched: Fetched): Promise<Digest> {
    const { seeds: source, bytesMax } = this.#options;
    const { hosts } = source === undefined || !isOfRegistry(reference) ? NOBODY : await source.hostsWith(reference);
    const seeds = this.#seeds(hosts, fetched);
    const whole = seeds === null ? null : await fetchFromSeeds(this.#disk, reference, seeds, bytesMax);
    return whole ?? this.#fetchFromSource(reference, fetched);
  }

  async #take(manifest: Digest, hosts: readonly Seed[], fetched: Fetched): Promise<Digest | null> {
    const seeds = this.#seeds(hosts, fetched);
    if (seeds === null) return null;
    const came = await takeWhole(this.#disk, manifest, seeds, this.#options.bytesMax);
    return came === 'whole' ? manifest : null;
  }

  #seeds(hosts: readonly Seed[], fetched: Fetched): Seeds | null {
    const { seeds: source, counts, log } = this.#options;
    if (source === undefined || hosts.length === 0) return null;
    const news = {
      came: (digest: Digest, host: string, bytes: number) => {
        fetched.note(digest, host, bytes);
        counts.add('fromHosts', bytes);
      },
      failed: () => counts.note('failed'),
    };
    return new Seeds(hosts, { source, disk: this.#disk, log, news, coming: this.#coming });
  }

  /** Of one registry one image after the other, so that what they share comes once; skopeo fetches several layers at once. */
  #fetchFromSource(reference: string, fetched: Fetched): Promise<Digest> {
    const registry = registryOf(reference);
    const before = this.#turns.get(registry);
    const turn = atMost(before, TURN_MS_MAX).then(() => this.#fetchNow(reference, fetched));
    const over = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(registry) === over) this.#turns.delete(registry);
      });
    this.#turns.set(registry, over);
    return turn;
  }

  /** skopeo does not say what it has fetched: it is what was not there before. */
  async #fetchNow(reference: string, fetched: Fetched): Promise<Digest> {
    const from = isOfRegistry(reference) ? 'the registry' : 'files of this host';
    const before = await this.#disk.blobSizes();
    const manifest = await fetchImage(this.#disk, reference);
    const after = await this.#disk.blobSizes();
    for (const digest of [manifest, ...((await blobsOf(this.#disk, manifest)) ?? [])]) {
      const bytes = after.get(digest);
      if (bytes === undefined || before.has(digest)) continue;
      fetched.note(digest, from, bytes);
      this.#options.counts.add('fromSources', bytes);
    }
    return manifest;
  }

  /** Unpacks what is not unpacked; null when something is missing. */
  async #assemble(digest: Digest): Promise<Parts | null> {
    const parts = await this.#read(digest);
    if (parts === null) return null;
    const { manifest, config } = parts;
    let whole = true;
    for (const [at, layer] of config.layers.entries()) {
      const { blob, compression } = manifest.layers[at] as ImageManifest['layers'][number];
      if (await this.#disk.hasLayer(layer)) continue;
      const there = await this.#disk.hasBlob(blob);
      if (!there || !(await this.#unpack({ archive: this.#disk.blob(blob), compression, blob, layer }))) whole = false;
    }
    return whole ? parts : null;
  }

  async #read(digest: Digest): Promise<Parts | null> {
    const text = await this.#disk.readDocument(digest);
    if (text === null) return null;
    const manifest = parseManifest(text);
    const configText = await this.#disk.readDocument(manifest.config);
    if (configText === null) return null;
    const config = parseConfig(configText);
    if (config.layers.length !== manifest.layers.length) {
      const detail = `the manifest has ${manifest.layers.length} layers, the configuration ${config.layers.length}`;
      throw new ShoalError('SHOAL_E_START', detail);
    }
    return { digest, manifest, config };
  }

  /** Once, whoever else waits for the same layer; false when the archive was damaged and is removed. */
  #unpack(order: Omit<UnpackOrder, 'target' | 'bytesMax'>): Promise<boolean> {
    const running = this.#layers.get(order.layer);
    if (running !== undefined) return running;
    const unpacking = this.#unpackAlone(order).finally(() => this.#layers.delete(order.layer));
    this.#layers.set(order.layer, unpacking);
    return unpacking;
  }

  async #unpackAlone(given: Omit<UnpackOrder, 'target' | 'bytesMax'>): Promise<boolean> {
    const target = await this.#disk.makePartial();
    const order: UnpackOrder = { ...given, target, bytesMax: this.#options.bytesMax };
    try {
      const words = [UNPACK_PROGRAM, JSON.stringify(order)];
      const how = { dieWithUs: true, label: `layer ${order.blob}` };
      await runTool(process.execPath, words, UNPACK_MS_MAX, 'SHOAL_E_START', how);
      await this.#disk.placeLayer(target, order.layer);
      return true;
    } catch (error) {
      await this.#disk.removePartial(target);
      if (exitCodeOf(error) !== ARCHIVE_DAMAGED) throw error;
      await this.#disk.removeBlob(order.blob);
      return false;
    }
  }

  #mount({ digest, config }: Parts): Promise<string> {
    // An overlay needs two folders at least.
    if (config.layers.length === 0) return this.#options.mountPoints();
    const known = this.#mounts.get(digest);
    if (known !== undefined) return known;
    const mounting = this.#mountAlone(digest, config);
    this.#mounts.set(digest, mounting);
    // A failed mount is tried again the next time; this caller gets the error from `mounting` itself.
    mounting.catch(() => this.#mounts.delete(digest));
    return mounting;
  }

  async #mountAlone(digest: Digest, { layers, onHost }: ImageConfig): Promise<string> {
    const mountPoints = await (onHost ? this.#options.hostSkeleton() : this.#options.mountPoints());
    const target = join(this.#options.mounts, `image-${hexOf(digest).slice(0, 16)}`);
    const topFirst = layers.map((layer) => this.#disk.layerRoot(layer)).reverse();
    await mountReadOnly([...topFirst, mountPoints], target);
    return target;
  }

  #isHeld(reference: string): boolean {
    return [...this.#held.values()].includes(reference);
  }

  /** Notes when the image was used last. */
  async #touch(reference: string): Promise<void> {
    const record = await this.#disk.readImage(reference);
    if (record !== null) await this.#disk.writeImage({ ...record, usedMs: this.#options.clock() });
  }

  /** Removes what exceeds the bound. Not while images are on their way: of those the store knows only parts. */
  collect(): Promise<void> {
    return this.#inTurn(() => this.#collectNow());
  }

  /** One after the other, so that what is noted of an image does not come after its removal. Never rejects. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#collecting = this.#collecting
      .then(work)
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'cannot remove images that are not used'));
    return this.#collecting;
  }

  async #collectNow(): Promise<void> {
    const [images, layers, blobs] = await Promise.all([
      this.#stockImages(),
      this.#disk.layerSizes(),
      this.#disk.blobSizes(),
    ]);
    if (this.#loading.size > 0) return;
    const held = images.map((each) => ({ ...each, held: this.#isHeld(each.reference) }));
    const removal = removalFor({ images: held, layers, blobs }, this.#options.bytesMax);
    // From here on who wants one of them waits until they are gone, and gets it anew.
    for (const reference of removal.images) this.#images.delete(reference);
    for (const reference of removal.images) await this.#removeImage(reference);
    for (const layer of removal.layers) await this.#disk.removeLayer(layer);
    for (const blob of removal.blobs) await this.#disk.removeBlob(blob);
    const { images: gone } = removal;
    if (gone.length > 0) this.#options.log.info({ images: gone }, 'images that nobody uses were removed');
  }

  async #removeImage(reference: string): Promise<void> {
    const record = await this.#disk.readImage(reference);
    await this.#disk.removeImage(reference);
    if (record === null) return;
    const stillUsed = (await this.#disk.images()).some(({ manifest }) => manifest === record.manifest);
    const mount = this.#mounts.get(record.manifest);
    if (stillUsed || mount === undefined) return;
    this.#mounts.delete(record.manifest);
    const path = await mount;
    this.#options.native.unmount(path);
    await rm(path, { recursive: true });
  }

  async #stockImages(): Promise<StockImage[]> {
    const found: StockImage[] = [];
    for (const { reference, manifest: digest, usedMs, layers } of await this.#disk.images()) {
      const parts = await this.#read(digest);
      if (parts === null) {
        if (layers === undefined && this.#isHeld(reference))
          throw new Error(`the manifest of ${reference}, which is used, is gone`);
        // Its instances go on with what is unpacked; the next agent fetches the rest anew when it needs it.
        found.push({ reference, usedMs, held: true, layers: layers ?? [], documents: [], archives: [] });
        continue;
      }
      const { manifest, config } = parts;
      found.push({
        reference,
        usedMs,
        held: true,
        layers: config.layers,
        documents: [digest, manifest.config],
        archives: manifest.layers.map(({ blob }) => blob),
      });
    }
    return found;
  }
}

/** Waits until the promise has settled, and no longer than that. */
async function atMost(promise: Promise<unknown> | undefined, ms: number): Promise<void> {
  const over = new AbortController();
  const late = setTimeout(ms, undefined, { signal: over.signal });
  try {
    await Promise.race([promise, late]);
  } finally {
    over.abort();
    await late.catch(() => undefined);
  }
}

function exitCodeOf(error: unknown): unknown {
  return error instanceof ShoalError ? (error.cause as { code?: unknown } | undefined)?.code : undefined;
}
