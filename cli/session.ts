import type { Command } from 'commander';
import { ShoalError } from '../protocol/errors.js';
import { Client, readCa, readRevoked, readToken } from './client.js';
import type { Io } from './io.js';

export const SERVER_DEFAULT = 'http://127.0.0.1:7946';

/** What one run of a command works with. */
export interface Session {
  io: Io;
  json: boolean;
  client: Client;
  /** Aborted when the user interrupts. */
  signal: AbortSignal;
}

/** Options that every command takes. */
export interface GlobalOptions {
  json?: boolean;
  server: string;
  tokenFile?: string;
  ca?: string;
}

/** Makes the session of a command from its global options. */
export type OpenSession = (command: Command) => Promise<Session>;

export function sessionOpener(io: Io, signal: AbortSignal): OpenSession {
  return async (command) => {
    const options = command.optsWithGlobals<GlobalOptions>();
    return { io, json: options.json ?? false, signal, client: await clientOf(options) };
  };
}

/** Asks the coordinator that the global options name, with their token, and believes whom they say. */
export async function clientOf({ server, tokenFile, ca: caFile }: GlobalOptions): Promise<Client> {
  const [token, ca, revoked] = await Promise.all([readToken(tokenFile), readCa(caFile), readRevoked(caFile)]);
  return new Client({
    server,
    revoked,
    ...(token === undefined ? {} : { token }),
    ...(ca === undefined ? {} : { ca }),
  });
}

/** For an option that may be given again. */
export function append(value: string, before: string[]): string[] {
  return [...before, value];
}

/** Text under a command's help. Each example is a command and what it does. */
export function examples(list: readonly (readonly [command: string, what: string])[]): string {
  const width = Math.max(...list.map(([command]) => command.length));
  return ['', 'Examples:', ...list.map(([command, what]) => `  $ ${command.padEnd(width)}  ${what}`)].join('\n');
}

export interface ComponentName {
  app: string;
  component: string;
}

/** APP/COMPONENT in its parts. */
export function parseComponentName(text: string): ComponentName {
  const [app, component, ...more] = text.split('/');
  if (!app || !component || more.length > 0) {
    throw new ShoalError('SHOAL_E_USAGE', `"${text}" names no component; write APP/COMPONENT, such as search/web`);
  }
  return { app, component };
}

/** APP or APP/COMPONENT or nothing. */
export function parseScope(text: string | undefined): Partial<ComponentName> {
  if (text === undefined) return {};
  return text.includes('/') ? parseComponentName(text) : { app: text };
}

/** A whole number from `min` to `max`, or SHOAL_E_USAGE. */
export function parseWhole(text: string, what: string, min: number, max: number): number {
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new ShoalError('SHOAL_E_USAGE', `${what} must be a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Ms of a span such as 90s, 10m, 2h or 7d, or null when it is none. */
export function spanMs(text: string): number | null {
  const [, count, unit] = /^([0-9]{1,9})([smhd])$/.exec(text) ?? [];
  return count === undefined ? null : Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** Ms since the epoch of a date and time; without a zone it is local. Null when it is none. */
export function dateMs(text: string): number | null {
  const atMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return atMs >= 0 ? atMs : null;
}
