import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';

/** A registry on loopback that gives the one image of an OCI layout (OCI distribution specification, "Pull"). */
export class Registry {
  /** Of the blobs and manifests that it was asked for and gave. */
  readonly given: string[] = [];
  /** Who asks first for the blob of this digest is answered once another asks for it. */
  slow: string | undefined;
  #asked: (() => void) | undefined;
  readonly #layout: string;
  #server: Server | undefined;

  constructor(layout: string) {
    this.#layout = layout;
  }

  /** HOST:PORT */
  async open(): Promise<string> {
    const server = createServer((request, response) => {
      void this.#answer(request.url ?? '').then(({ status, content, type, digest }) => {
        response.writeHead(status, {
          'content-type': type,
          'content-length': content.length,
          'docker-content-digest': digest,
        });
        response.end(request.method === 'HEAD' ? undefined : content);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Of the image's manifest. */
  async digest(): Promise<string> {
    const index = JSON.parse(await readFile(join(this.#layout, 'index.json'), 'utf8')) as {
      manifests: { digest: string }[];
    };
    return index.manifests[0]?.digest ?? '';
  }

  #another(): Promise<void> {
    this.#asked?.();
    return this.#asked === undefined ? new Promise((resolve) => (this.#asked = resolve)) : Promise.resolve();
  }

  async #answer(url: string): Promise<{ status: number; content: Buffer; type: string; digest: string }> {
    if (url === '/v2/') return { status: 200, content: Buffer.from('{}'), type: 'application/json', digest: '' };
    const [, kind, name = ''] = /^\/v2\/image\/(manifests|blobs)\/(.+)$/.exec(url) ?? [];
    const digest = name.startsWith('sha256:') ? name : await this.digest();
    if (digest === this.slow) await this.#another();
    try {
      const content = await readFile(join(this.#layout, 'blobs/sha256', digest.slice('sha256:'.length)));
      this.given.push(digest);
      const type = kind === 'manifests' ? 'application/vnd.oci.image.manifest.v1+json' : 'application/octet-stream';
      return { status: 200, content, type, digest };
    } catch {
      const content = Buffer.from('{"errors":[{"code":"NOT_FOUND"}]}');
      return { status: 404, content, type: 'application/json', digest: '' };
    }
  }
}

/** Until the test ends, programs that it starts take this registry, which speaks no TLS: skopeo hears of it by what is at home. */
export async function trustRegistry(t: Pick<Test, 'teardown'>, home: string, address: string): Promise<void> {
  const settings = join(home, '.config/containers/registries.conf');
  await mkdir(dirname(settings), { recursive: true });
  await writeFile(settings, `[[registry]]\nlocation = "${address}"\ninsecure = true\n`);
  const { HOME } = process.env;
  process.env.HOME = home;
  t.teardown(() => {
    process.env.HOME = HOME;
  });
}
