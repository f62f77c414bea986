import { execFile } from 'node:child_process';
import type { Logger } from 'pino';

/**
 * Tells systemd of this service that it is up and lives, by its own systemd-notify(1): the coordinator loads no native
 * code, and Node sends nothing to datagram sockets. Does nothing where it is not the one who started us.
 */
export class ServiceManager {
  readonly #log: Logger;
  readonly #isThere: boolean;
  /** Of systemd's patience, µs; 0: it has no watchdog for us. */
  readonly #watchdogUs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger, env: NodeJS.ProcessEnv = process.env) {
    this.#log = log;
    this.#isThere = (env.NOTIFY_SOCKET ?? '') !== '';
    this.#watchdogUs = /^\d{1,12}$/.test(env.WATCHDOG_USEC ?? '') ? Number(env.WATCHDOG_USEC) : 0;
  }

  /** From now on it is told again and again that the event loop turns, at a third of the time that is given. */
  ready(): void {
    this.#say('READY=1');
    if (this.#watchdogUs > 0) this.#timer = setInterval(() => this.#say('WATCHDOG=1'), this.#watchdogUs / 3_000);
  }

  stopping(): void {
    clearInterval(this.#timer);
    this.#say('STOPPING=1');
  }

  #say(what: string): void {
    if (!this.#isThere) return;
    execFile('systemd-notify', [what], (error) => {
      if (error !== null) this.#log.warn({ err: error, what }, 'systemd could not be told');
    });
  }
}
