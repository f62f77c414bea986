import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Identity } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { LIMITS } from '../protocol/limits.js';
import { type Attached, attach } from './attach.js';
import { type Address, endIfRevoked } from './coordinators.js';
import type { InsideProcess } from './exec.js';
import { serveCommand } from './exec-session.js';

export interface CommandsOptions {
  identity: Identity | null;
  log: Logger;
  start(instance: string, command: readonly string[], terminal: TerminalSize | null): Promise<InsideProcess>;
}

interface Asked {
  ticket: string;
  instance: string;
  command: readonly string[];
  terminal: TerminalSize | null;
}

/** Commands that people run in instances of this host, each over a connection of its own to the coordinator. */
export class Commands {
  readonly #options: CommandsOptions;
  readonly #sockets = new Set<Socket>();
  #running = 0;

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  /**
   * Starts a command and attaches it; resolves when it is attached, and rejects when that cannot be. Who ends the connection
   * ends the command.
   */
  async run(address: Address, { ticket, instance, command, terminal }: Asked): Promise<void> {
    if (this.#running >= LIMITS.execsPerHostMax) {
      const many = `${LIMITS.execsPerHostMax} commands run in instances of this host`;
      throw new ShoalError('SHOAL_E_OVERLOADED', `${many}; try again when one has ended`);
    }
    this.#running += 1;
    let inside: InsideProcess | undefined;
    try {
      inside = await this.#options.start(instance, command, terminal);
      const attached = await attach(address, this.#options.identity, ticket, this.#sockets);
      void this.#serve(attached, inside);
    } catch (error) {
      this.#running -= 1;
      await inside?.end();
      throw error;
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Ends commands that were asked for by coordinators whose certificate is revoked. */
  endRevoked(revoked: ReadonlySet<string>): void {
    for (const socket of this.#sockets) endIfRevoked(socket, revoked);
  }

  async #serve({ socket, reader, early }: Attached, inside: InsideProcess): Promise<void> {
    const { log } = this.#options;
    try {
      await serveCommand(socket, reader, early, inside, log);
    } catch (error) {
      log.error({ err: error }, 'cannot clean up after a command that ran in an instance');
    } finally {
      this.#running -= 1;
    }
  }
}
