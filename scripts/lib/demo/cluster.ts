import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';

const UP_MS_MAX = 30_000;
const DOWN_MS_MAX = 30_000;
const PORT_TRIES_MAX = 20;

/** `shoal up` in a folder of its own: one host's coordinator and agent, gone without a trace after close(). */
export class Cluster {
  private constructor(
    readonly server: string,
    readonly folder: string,
    private readonly child: ChildProcess,
    private readonly output: string[],
  ) {}

  static async start(cli: string): Promise<Cluster> {
    // /run: instances must be able to reach it, and it is in memory.
    const folder = await mkdtemp('/run/shoal-demo-');
    await chmod(folder, 0o711);
    const listen = `127.0.0.1:${await freePort()}`;
    const words = [
      cli,
      'up',
      '--down',
      '--data',
      join(folder, 'data'),
      '--run',
      join(folder, 'run'),
      '--listen',
      listen,
    ];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const output: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output.push(text);
        if (output.length > 200) output.shift();
      });
    }
    const cluster = new Cluster(`http://${listen}`, folder, child, output);
    try {
      await cluster.until('the host is connected', UP_MS_MAX, async () => {
        const hosts = await cluster.get<{ connected: boolean }[]>('/v1/hosts');
        return hosts.some((host) => host.connected);
      });
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async get<T>(path: string): Promise<T> {
    return this.#ask<T>(path, {});
  }

  async put<T>(path: string, type: string, body: string): Promise<T> {
    return this.#ask<T>(path, { method: 'PUT', headers: { 'content-type': type }, body });
  }

  async delete(path: string): Promise<void> {
    await this.#ask(path, { method: 'DELETE' });
  }

  /** Waits for a condition that the cluster's answers show; what fails meanwhile counts as not yet. */
  async until(what: string, ms: number, condition: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + ms;
    let last = '';
    for (;;) {
      const met = await condition().catch((error: Error) => {
        last = error.message;
        return false;
      });
      if (met) return;
      if (this.child.exitCode !== null) throw new Error(`shoal up ended:\n${this.output.join('')}`);
      if (performance.now() > deadline)
        throw new Error(`waited in vain until ${what}. ${last}\n${this.output.join('')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Ends all instances, agent and coordinator, and removes the folder. */
  async close(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill('SIGTERM');
      const kill = setTimeout(() => this.child.kill('SIGKILL'), DOWN_MS_MAX);
      await exited;
      clearTimeout(kill);
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #ask<T>(path: string, init: RequestInit): Promise<T> {
    const response = await fetch(`${this.server}${path}`, init);
    const body = await response.text();
    if (!response.ok) throw new Error(`${init.method ?? 'GET'} ${path}: ${response.status} ${body}`);
    return JSON.parse(body) as T;
  }
}

/** One after which another one is free: an agent takes others there, and its relay listens on the next. */
export async function freePortPair(): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES_MAX; tries += 1) {
    const port = await freePort();
    const next = await freePort(port + 1).catch(() => null);
    if (next !== null) return port;
  }
  throw new Error(`no two ports in a row were free in ${PORT_TRIES_MAX} tries`);
}

/** A TCP port of the loopback that nobody uses now: this one, which rejects when it is in use, or any. */
export function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(wanted, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
