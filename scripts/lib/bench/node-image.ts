import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { cp, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runTool } from '../../../agent/run-tool.js';

/** What the SDK is made of, and the packages that it imports. */
const SDK = ['package.json', 'dist/sdk/bundle.js', 'build/Release/shoal.node'];
const PACKAGES = ['msgpackr', 'node-gyp-build'];
/** Which msgpackr takes where they are installed. */
const OPTIONAL = ['msgpackr-extract', '@msgpackr-extract', 'node-gyp-build-optional-packages', 'detect-libc'];
/** Folders that runtimes mount on: a root that is read-only must have them. */
const MOUNT_POINTS = ['dev', 'proc', 'sys', 'tmp', 'etc', 'run/shoal', 'run/shoal-peers', 'run/secrets'];
const TOOL_MS_MAX = 120_000;

export interface NodeImage {
  /** The reference that skopeo, podman and Shoal find it by: an OCI layout. */
  reference: string;
  /** The same files as a folder, for runtimes that know no images. */
  root: string;
}

/**
 * Makes the image of a small Node component with all that it needs, Node.js and its libraries of this host among it: what Shoal,
 * podman and bare runtimes can start alike. One layer, as the OCI image specification 1.1 has it.
 */
export async function makeNodeImage(dist: string, folder: string): Promise<NodeImage> {
  const root = join(folder, 'root');
  for (const name of MOUNT_POINTS) await mkdir(join(root, name), { recursive: true });
  const checkout = dirname(dist);
  const node = process.execPath;
  for (const file of new Set([...(await librariesOf(node)), ...(await librariesOf(join(checkout, SDK[2] ?? '')))])) {
    await copy(file, join(root, file));
  }
  await copy(node, join(root, 'usr/bin/node'));
  for (const file of SDK) await copy(join(checkout, file), join(root, 'node_modules/shoal', file));
  const optional = OPTIONAL.filter((name) => existsSync(join(checkout, 'node_modules', name)));
  for (const name of [...PACKAGES, ...optional]) {
    await copy(join(checkout, 'node_modules', name), join(root, 'node_modules', name));
  }
  await copy(join(dist, 'examples/search/tokenizer.mjs'), join(root, 'app/tokenizer.mjs'));
  return { reference: await writeLayout(folder, root), root };
}

/** What the dynamic loader loads for it. */
async function librariesOf(file: string): Promise<string[]> {
  const text = await runTool('ldd', [file], TOOL_MS_MAX, 'SHOAL_E_HOST');
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

function copy(from: string, to: string): Promise<void> {
  return cp(from, to, { recursive: true, dereference: true });
}

async function writeLayout(folder: string, root: string): Promise<string> {
  const layout = join(folder, 'layout');
  const blobs = join(layout, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const type = (name: string) => `application/vnd.oci.image.${name}`;
  /** Gives the file its name in the layout. */
  const put = async (file: string, mediaType: string) => {
    const hex = await sha256(file);
    await rename(file, join(blobs, hex));
    return { mediaType, digest: `sha256:${hex}`, size: (await stat(join(blobs, hex))).size };
  };
  const putJson = async (value: object, mediaType: string) => {
    const file = join(layout, 'json');
    await writeFile(file, JSON.stringify(value));
    return put(file, mediaType);
  };
  const archive = join(layout, 'layer');
  const owned = ['--owner=0', '--group=0', '--numeric-owner'];
  await runTool('tar', [...owned, '-C', root, '-cf', archive, '.'], TOOL_MS_MAX, 'SHOAL_E_HOST');
  const layer = await put(archive, type('layer.v1.tar'));
  const config = await putJson(
    {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Cmd: ['node', 'tokenizer.mjs'], WorkingDir: '/app', Env: ['PATH=/usr/bin:/bin'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    },
    type('config.v1+json'),
  );
  const manifest = { schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers: [layer] };
  const listed = await putJson(manifest, type('manifest.v1+json'));
  const named = { ...listed, annotations: { 'org.opencontainers.image.ref.name': 'v1' } };
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return `oci:${layout}:v1`;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
