import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { asksItself } from '../protocol/manifest.js';
import { isErrno } from './cgroup.js';
import type { Instance } from './instance.js';
import type { Paths } from './paths.js';
import { captureSocket } from './sockets.js';

export interface Grant {
  app: string;
  caller: string;
  callee: Instance;
}

/**
 * Keeps in each caller's folder the sockets of the instances that it may call, and no others: what the manifest does
 * not grant has no name there that a caller could dial.
 */
export class Peers {
  readonly #paths: Paths;
  readonly #log: Logger;
  /** Link → which process of the callee it leads to: a restarted one has a new socket. */
  readonly #made = new Map<string, number>();

  constructor(paths: Paths, log: Logger) {
    this.#paths = paths;
    this.#log = log;
  }

  /** Removes the links of an earlier agent; the folders stay, since running instances have them mounted. */
  async clear(): Promise<void> {
    await mkdir(this.#paths.apps, { recursive: true, mode: 0o711 });
    for (const path of await readdir(this.#paths.apps, { recursive: true })) {
      if (path.endsWith('.sock')) await rm(join(this.#paths.apps, path), { force: true });
    }
  }

  /** Makes the links of the grants and removes all others. Answers the ids that callers can dial now. */
  async sync(grants: readonly Grant[]): Promise<Set<string>> {
    const wanted = new Map(grants.map((grant) => [this.#link(grant), grant]));
    for (const link of [...this.#made.keys()]) {
      if (wanted.has(link)) continue;
      await rm(link, { force: true });
      this.#made.delete(link);
    }
    const dialable = new Set<string>();
    for (const [link, { caller, callee }] of wanted) {
      if (await this.#make(link, caller, callee)) dialable.add(callee.id);
    }
    return dialable;
  }

  #link({ app, caller, callee }: Grant): string {
    return join(this.#paths.peers(app, caller), callee.component, `${callee.id}.sock`);
  }

  async #make(link: string, caller: string, callee: Instance): Promise<boolean> {
    if (this.#made.get(link) === callee.restarts) return true;
    await mkdir(dirname(link), { recursive: true, mode: 0o755 });
    try {
      await captureSocket(callee.socket(fabricOf(caller, callee)), link, callee.ids);
      this.#made.set(link, callee.restarts);
      return true;
    } catch (error) {
      // A component that only has ports, or one that has just ended, has no such socket.
      if (!isErrno(error, 'ENOENT')) this.#log.warn({ err: error, link }, 'cannot link the socket of an instance');
      return false;
    }
  }
}

/** By which socket it is called tells the callee that the caller is of its own component, where that matters to it. */
function fabricOf(caller: string, { component, made }: Instance): string {
  return caller === component && asksItself(made) ? 'fabric-own' : 'fabric';
}
