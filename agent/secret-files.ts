import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import { runTool } from './run-tool.js';

const MOUNT_MS_MAX = 10_000;
/** All instances of a host together; each value has at most LIMITS.secretBytesMax. */
const BYTES_MAX = 256 * 1024 * 1024;

/**
 * Secrets as files, each instance's in a folder that its own user alone may read. They lie in a tmpfs of the agent's own mount
 * namespace: never on a disk, and out of reach of whoever looks at the host. An instance keeps the tmpfs that it has bound
 * when the agent ends.
 */
export class SecretFiles {
  #mounting: Promise<void> | undefined;

  constructor(
    readonly folder: string,
    /** The value in base64; undefined: it was not set. */
    private readonly find: (app: string, name: string) => string | undefined,
  ) {}

  /** The folder with these secrets of the app; null: there are none. Throws SHOAL_E_START when one was never set. */
  async make(
    body: string,
    { app, secrets = [], owner }: { app: string; secrets?: readonly string[] | undefined; owner: number },
  ): Promise<string | null> {
    if (secrets.length === 0) return null;
    const values = secrets.map((name) => {
      const value = this.find(app, name);
      if (value !== undefined) return { name, bytes: Buffer.from(value, 'base64') };
      throw new ShoalError('SHOAL_E_START', `the secret ${name} was not set: \`shoal secret set ${app}/${name}\``);
    });
    this.#mounting ??= this.#mount();
    // A failed mount is tried again the next time; this caller gets the error itself.
    this.#mounting.catch(() => {
      this.#mounting = undefined;
    });
    await this.#mounting;
    const folder = join(this.folder, body);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    for (const { name, bytes } of values) {
      const path = join(folder, name);
      await writeFile(path, bytes, { mode: 0o400, flag: 'wx' });
      await chown(path, owner, owner);
    }
    await chown(folder, owner, owner);
    return folder;
  }

  async remove(body: string): Promise<void> {
    await rm(join(this.folder, body), { recursive: true, force: true });
  }

  async #mount(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o711 });
    const options = `mode=711,nosuid,nodev,noexec,size=${BYTES_MAX}`;
    const words = ['-t', 'tmpfs', '-o', options, 'tmpfs', this.folder];
    await runTool('mount', words, MOUNT_MS_MAX, 'SHOAL_E_START');
  }
}
