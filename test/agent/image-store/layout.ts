import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { archive, type Header } from './archive.js';

/** Writes an OCI layout with one image; answers the reference by which skopeo finds it. Layers may claim false digests. */
export async function makeLayout(
  folder: string,
  layers: Header[][],
  config: object = {},
  claimed?: string[],
): Promise<string> {
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
  const put = async (content: Buffer, mediaType: string) => {
    const hex = hexOf(content);
    await writeFile(join(folder, 'blobs/sha256', hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const type = (name: string) => `application/vnd.oci.image.${name}`;
  const plain = layers.map((headers) => archive(...headers));
  const packed = await Promise.all(plain.map((each) => put(gzipSync(each), type('layer.v1.tar+gzip'))));
  const document = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: claimed ?? plain.map((each) => `sha256:${hexOf(each)}`) },
  };
  const configured = await put(Buffer.from(JSON.stringify(document)), type('config.v1+json'));
  const manifest = { schemaVersion: 2, mediaType: type('manifest.v1+json'), config: configured, layers: packed };
  const listed = await put(Buffer.from(JSON.stringify(manifest)), type('manifest.v1+json'));
  const index = {
    schemaVersion: 2,
    manifests: [{ ...listed, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }],
  };
  await writeFile(join(folder, 'index.json'), JSON.stringify(index));
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return `oci:${folder}:v1`;
}

function hexOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
