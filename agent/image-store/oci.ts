import { constants } from 'node:os';
import { ShoalError } from '../../protocol/errors.js';
import { HOST_BASE_LABEL } from '../builds/recipe.js';

/** `sha256:` and 64 lower-case hex digits; of other algorithms no registry in use makes digests. */
export type Digest = string;

const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** overlayfs takes at most 500 lower layers; images have some ten. */
const LAYERS_MAX = 127;
/** Numbers of signals that have no names of their own (signal(7)), as programs have them from the C library. */
const REAL_TIME = { min: 34, max: 64 };

/** What is needed of an image's manifest and configuration (OCI image specification 1.1, manifest.md and config.md). */
export interface ImageManifest {
  config: Digest;
  layers: { blob: Digest; compression: Compression }[];
}

export type Compression = 'none' | 'gzip' | 'zstd';

export interface ImageConfig {
  command: string[];
  env: Record<string, string>;
  workingFolder: string;
  /** The number of the signal that asks its process to end; absent: SIGTERM. */
  stopSignal?: number;
  /** Digest of each layer's archive without compression, the lowest first. */
  layers: Digest[];
  /** By its label: the host's own system folders belong below it. */
  onHost: boolean;
}

export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && DIGEST.test(value);
}

/** The hex digits: the name of its file or folder. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** The digest of the one manifest in the index.json of a layout that skopeo has written. */
export function manifestOfIndex(text: string): Digest {
  const { manifests } = asMap(parse(text, 'index.json'));
  const first = asMap(Array.isArray(manifests) ? manifests[0] : undefined).digest;
  if (!isDigest(first)) throw wrong('index.json names no manifest');
  return first;
}

export function parseManifest(text: string): ImageManifest {
  const { config, layers } = asMap(parse(text, 'manifest'));
  const configDigest = asMap(config).digest;
  if (!isDigest(configDigest)) throw wrong('the manifest has no configuration');
  if (!Array.isArray(layers) || layers.length > LAYERS_MAX) {
    throw wrong(`the manifest has no list of at most ${LAYERS_MAX} layers`);
  }
  return {
    config: configDigest,
    layers: layers.map((layer) => {
      const { digest, mediaType } = asMap(layer);
      if (!isDigest(digest)) throw wrong('a layer has no sha256 digest');
      return { blob: digest, compression: compressionOf(mediaType) };
    }),
  };
}

/** The digests of the layers in what `skopeo inspect` prints. */
export function layersOfInspection(text: string): Digest[] {
  const { Layers } = asMap(parse(text, 'inspection'));
  if (!Array.isArray(Layers) || Layers.length > LAYERS_MAX) return [];
  return Layers.filter(isDigest);
}

function compressionOf(mediaType: unknown): Compression {
  const type = typeof mediaType === 'string' ? mediaType : '';
  if (/^application\/vnd\.oci\.image\.layer\.(nondistributable\.)?v1\.tar$/.test(type)) return 'none';
  if (/\.tar[+.]gzip$/.test(type)) return 'gzip';
  if (/\.tar\+zstd$/.test(type)) return 'zstd';
  throw wrong(`a layer is of the unknown type ${JSON.stringify(mediaType)}`);
}

export function parseConfig(text: string): ImageConfig {
  const { config, rootfs } = asMap(parse(text, 'configuration'));
  const { Entrypoint, Cmd, Env, WorkingDir, StopSignal, Labels } = asMap(config);
  const layers = asMap(rootfs).diff_ids ?? [];
  if (!Array.isArray(layers) || !layers.every(isDigest)) throw wrong('the configuration has no digests of layers');
  const env = words(Env, 'Env').map((each): [string, string] => {
    const cut = each.indexOf('=');
    return cut < 0 ? [each, ''] : [each.slice(0, cut), each.slice(cut + 1)];
  });
  const folder = typeof WorkingDir === 'string' && WorkingDir.startsWith('/') ? WorkingDir : '/';
  const command = [...words(Entrypoint, 'Entrypoint'), ...words(Cmd, 'Cmd')];
  const onHost = asMap(Labels)[HOST_BASE_LABEL] === 'host';
  const stopSignal = StopSignal === undefined || StopSignal === '' ? {} : { stopSignal: signalNumber(StopSignal) };
  return { command, env: Object.fromEntries(env), workingFolder: folder, ...stopSignal, layers, onHost };
}

/** Of `SIGQUIT`, `QUIT`, `3` or `SIGRTMIN+3`. */
function signalNumber(value: unknown): number {
  const [, name = '', offset = ''] = /^(?:SIG)?([A-Z]+\d?|\d+)([+-]\d+)?$/.exec(String(value)) ?? [];
  const realTime = name === 'RTMIN' ? REAL_TIME.min : name === 'RTMAX' ? REAL_TIME.max : undefined;
  const base = realTime ?? (/^\d+$/.test(name) ? Number(name) : constants.signals[`SIG${name}` as NodeJS.Signals]);
  const number = (base ?? 0) + Number(offset);
  const isRight = Number.isInteger(number) && number >= 1 && number <= REAL_TIME.max;
  if (!isRight || (offset !== '' && realTime === undefined)) {
    throw wrong(`StopSignal of the configuration is no signal: ${JSON.stringify(value)}`);
  }
  return number;
}

function words(value: unknown, name: string): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
  throw wrong(`${name} of the configuration is no list of texts`);
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw wrong(`the ${what} is no JSON`);
  }
}

function asMap(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function wrong(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_START', detail);
}
