import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type ErrorCode, ShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { LIMITS } from '../protocol/limits.js';

export interface CommandWanted {
  instance: string;
  command: string[];
  /** Null: without one. */
  terminal: TerminalSize | null;
}

export interface StateWanted {
  app: string;
  component: string;
  /** Else it is only read. */
  writes: boolean;
}

/** Who can have commands run, and state read and written: the agents that are connected. */
export interface ExecSource {
  /**
   * Has the agent of the host run a command; answers the connection that carries what is said with it (protocol/exec.ts).
   * Rejects with SHOAL_E_UNREACHABLE, SHOAL_E_DEADLINE, SHOAL_E_OVERLOADED, or the agent's own reason.
   */
  exec(host: string, wanted: CommandWanted): Promise<Socket>;
  /** The same for the state shards of a component that the host owns (protocol/state-transfer.ts). */
  openState(host: string, wanted: StateWanted): Promise<Socket>;
}

interface Open {
  host: string;
  resolve(socket: Socket): void;
  reject(error: ShoalError): void;
  timer: NodeJS.Timeout;
}

/** What was asked for, until the agent attaches each by its ticket, which nobody else knows and which counts once. */
export class ExecTickets {
  readonly #open = new Map<string, Open>();
  readonly #attached = new Set<Socket>();

  ask(host: string, send: (ticket: string) => void): Promise<Socket> {
    if ([...this.#open.values()].filter((each) => each.host === host).length >= LIMITS.execsPerHostMax) {
      return Promise.reject(
        new ShoalError('SHOAL_E_OVERLOADED', `the agent of ${host} has ${LIMITS.execsPerHostMax} connections to make`),
      );
    }
    const ticket = randomBytes(16).toString('hex');
    return new Promise((resolve, reject) => {
      const late = `the agent of ${host} did not begin with what was asked for within ${LIMITS.execStartMsMax} ms`;
      const timer = setTimeout(
        () => this.#take(ticket, host)?.reject(new ShoalError('SHOAL_E_DEADLINE', late)),
        LIMITS.execStartMsMax,
      );
      this.#open.set(ticket, { host, resolve, reject, timer });
      send(ticket);
    });
  }

  /** False: nobody has asked this host for it. `host` null: the agent of this coordinator's own host, whatever its name. */
  attach(ticket: string, host: string | null, socket: Socket): boolean {
    const open = this.#take(ticket, host);
    if (open === undefined) return false;
    this.#attached.add(socket);
    socket.once('close', () => this.#attached.delete(socket));
    open.resolve(socket);
    return true;
  }

  refused(ticket: string, host: string | null, code: ErrorCode, why: string): void {
    this.#take(ticket, host)?.reject(new ShoalError(code, why));
  }

  end(host: string, why: string): void {
    for (const [ticket, open] of [...this.#open]) {
      if (open.host === host) this.#take(ticket, host)?.reject(new ShoalError('SHOAL_E_UNREACHABLE', why));
    }
  }

  close(): void {
    for (const socket of this.#attached) socket.destroy();
  }

  #take(ticket: string, host: string | null): Open | undefined {
    const open = this.#open.get(ticket);
    if (open === undefined || (host !== null && host !== open.host)) return undefined;
    clearTimeout(open.timer);
    this.#open.delete(ticket);
    return open;
  }
}
