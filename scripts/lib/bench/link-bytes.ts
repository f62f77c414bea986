import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { StateCluster } from '../state/state-cluster.js';
import type { Traffic } from './handovers.js';

const run = promisify(execFile);

/**
 * What agents send each other over their links, as the kernel counts it for each connection: of those that end meanwhile when they
 * end, of the others when it is asked (ss(8)). Nothing is asked in between: to fork this process, which is large, holds up what
 * is measured.
 */
export class LinkBytes implements Traffic {
  readonly #cluster: Pick<StateCluster, 'linkPorts'>;
  /** By connection. */
  readonly #sent = new Map<string, number>();
  readonly #before = new Map<string, number>();
  #ports = new Set<string>();
  #watcher: ChildProcess | undefined;
  /** Of a line that has not come whole. */
  #begun = '';

  constructor(cluster: Pick<StateCluster, 'linkPorts'>) {
    this.#cluster = cluster;
  }

  async start(): Promise<void> {
    this.#ports = new Set([...this.#cluster.linkPorts.values()].map((port) => `:${port}`));
    await this.#look();
    for (const [connection, bytes] of this.#sent) this.#before.set(connection, bytes);
    // To a pipe it would write only when it has much.
    const command = ['--pdeathsig', 'KILL', 'stdbuf', '-oL', 'ss', '-HtinOE'];
    this.#watcher = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#watcher.on('error', (error) => console.error('bytes are not counted:', error.message));
    this.#watcher.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = `${this.#begun}${text}`.split('\n');
      this.#begun = lines.pop() ?? '';
      for (const line of lines) this.#count(line);
    });
  }

  async stop(): Promise<number> {
    await this.#look();
    this.end();
    return [...this.#sent].reduce((sum, [connection, bytes]) => sum + bytes - (this.#before.get(connection) ?? 0), 0);
  }

  end(): void {
    this.#watcher?.kill('SIGKILL');
  }

  async #look(): Promise<void> {
    const { stdout } = await run('ss', ['-HtinO', 'state', 'established']);
    for (const line of stdout.split('\n')) this.#count(line);
  }

  #count(line: string): void {
    const [connection, local = '', remote = ''] = /(\S+:\d+)\s+(\S+:\d+)\s/.exec(line) ?? [];
    const bytes = /bytes_acked:(\d+)/.exec(line)?.[1];
    const isLink = [local, remote].some((end) => this.#ports.has(end.slice(end.lastIndexOf(':'))));
    if (connection !== undefined && isLink && bytes !== undefined) this.#sent.set(`${local} ${remote}`, Number(bytes));
  }
}
