import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { ShoalError } from '../../protocol/errors.js';

/** What a caller may do: read; change what runs; also apply and delete apps. Each may do what those before it may. */
export const API_ROLES = ['read', 'operate', 'admin'] as const;
export type ApiRole = (typeof API_ROLES)[number];

export interface Caller {
  name: string;
  role: ApiRole;
}

interface Known extends Caller {
  digest: Buffer;
}

const LINE = /^(read|operate|admin) ([A-Za-z0-9][A-Za-z0-9._-]{0,62}) ([0-9a-f]{64})$/;

/**
 * Callers by their tokens, from a file with a line for each: role, name, SHA-256 of the token. The file may be changed at
 * any time; who is no longer in it is nobody from the next request on.
 */
export class Tokens {
  readonly #path: string;
  #version = '';
  #known: readonly Known[] = [];

  /** Throws SHOAL_E_USAGE when the file cannot be understood. */
  constructor(path: string) {
    this.#path = path;
    this.#refresh();
  }

  /** Null when nobody has this token; takes as long for each. */
  find(token: string): Caller | null {
    this.#refresh();
    const digest = digestOf(token);
    let found: Caller | null = null;
    for (const { name, role, digest: each } of this.#known) if (timingSafeEqual(digest, each)) found = { name, role };
    return found;
  }

  #refresh(): void {
    try {
      const { mtimeMs, ino, size } = statSync(this.#path);
      const version = `${mtimeMs}:${ino}:${size}`;
      if (version === this.#version) return;
      this.#known = parse(readFileSync(this.#path, 'utf8'), this.#path);
      this.#version = version;
    } catch (cause) {
      // Whoever was in it before is not: nobody may come in by a file that cannot be read.
      this.#known = [];
      this.#version = '';
      if (cause instanceof ShoalError) throw cause;
      throw new ShoalError('SHOAL_E_USAGE', `cannot read the file of tokens: ${(cause as Error).message}`, { cause });
    }
  }
}

/** The line of the file for a token. */
export function tokenLine({ name, role }: Caller, token: string): string {
  const line = `${role} ${name} ${digestOf(token).toString('hex')}`;
  if (LINE.test(line)) return `${line}\n`;
  throw new ShoalError('SHOAL_E_USAGE', `a token is for ${API_ROLES.join(', ')} and a name of letters, digits, . _ -`);
}

function parse(text: string, path: string): Known[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const [, role, name, hex] = LINE.exec(line.trim()) ?? [];
    if (role === undefined || name === undefined || hex === undefined) {
      throw new ShoalError(
        'SHOAL_E_USAGE',
        `${path}:${index + 1}: expected ROLE NAME SHA256; \`shoal token create\` writes it`,
      );
    }
    return [{ role: role as ApiRole, name, digest: Buffer.from(hex, 'hex') }];
  });
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Apps as a whole, and who belongs to the cluster. */
const ADMINS = [
  /^\/v1\/apps\/[^/]+\/?$/,
  /^\/v1\/join-tokens/,
  /^\/v1\/hosts\/[^/]+\/certificate\/?$/,
  /^\/v1\/revoked\//,
];

/** The least that a caller must be; `path`: as it is asked for, or the pattern of its route. */
export function roleFor(method: string, path: string): ApiRole {
  if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return 'read';
  return ADMINS.some((each) => each.test(path)) ? 'admin' : 'operate';
}

export function mayDo({ role }: Caller, needed: ApiRole): boolean {
  return API_ROLES.indexOf(role) >= API_ROLES.indexOf(needed);
}
