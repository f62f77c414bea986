import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';

const encoder = new TextEncoder();
const HASH_BASIS = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

/** The name of a state as it stands before each of its keys. */
export interface StateName {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly hash: number;
}

const NAME = /^[a-z0-9][a-z0-9-]*$/;

/** Throws SHOAL_E_NAME. */
export function stateName(text: string): StateName {
  if (!NAME.test(text) || text.length > LIMITS.nameLengthMax) {
    const rule = `small letters, digits and -, at most ${LIMITS.nameLengthMax}`;
    throw new ShoalError('SHOAL_E_NAME', `${JSON.stringify(text)} is no name of a state: ${rule}`);
  }
  return named(text);
}

/** A state of the SDK itself, whose name no component can give. */
export function ownStateName(text: string): StateName {
  return named(`shoal:${text}`);
}

function named(text: string): StateName {
  const bytes = encoder.encode(text);
  return { text, bytes, hash: hashOf(bytes, 0, bytes.length) };
}

/** 32-bit FNV-1a (Fowler, Noll, Vo; draft-eastlake-fnv), as protocol/shard.ts has it. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = HASH_BASIS;
  for (let i = start; i < end; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), HASH_PRIME);
  return hash;
}

/** Spreads what all keys of a state shard have in common in their hashes (murmur3's finaliser, A. Appleby). */
function mixed(keyHash: number, nameHash: number): number {
  let hash = keyHash ^ Math.imul(nameHash, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** One name and key, in bytes. Used again for the next: nothing is allocated for a key in ASCII. */
export class KeyBytes {
  readonly bytes = new Uint8Array(LIMITS.nameLengthMax + LIMITS.stateKeyBytesMax);
  nameLength = 0;
  /** Of both. */
  length = 0;
  /** For the index. */
  hash = 0;
  /** Of the key alone: its state shard is this modulo their number. */
  keyHash = 0;
  #name: StateName | undefined;

  /** Throws SHOAL_E_STATE_SIZE for a key that is too long, SHOAL_E_USAGE for one that UTF-8 cannot hold. */
  set(name: StateName, key: string): void {
    const { bytes } = this;
    if (this.#name !== name) bytes.set(name.bytes);
    this.#name = name;
    const start = name.bytes.length;
    const length = key.length;
    if (length > LIMITS.stateKeyBytesMax) throw tooLong(key);
    let hash = HASH_BASIS;
    for (let i = 0; i < length; i += 1) {
      const code = key.charCodeAt(i);
      if (code > 127) {
        this.#setWide(name, key);
        return;
      }
      bytes[start + i] = code;
      hash = Math.imul(hash ^ code, HASH_PRIME);
    }
    this.#done(name, start + length, hash);
  }

  /** As they stand in a record. */
  load(bytes: Uint8Array, start: number, nameLength: number, length: number): void {
    this.#name = undefined;
    for (let i = 0; i < length; i += 1) this.bytes[i] = bytes[start + i] as number;
    this.nameLength = nameLength;
    this.length = length;
    this.keyHash = hashOf(this.bytes, nameLength, length) >>> 0;
    this.hash = mixed(this.keyHash, hashOf(this.bytes, 0, nameLength));
  }

  #setWide(name: StateName, key: string): void {
    const start = name.bytes.length;
    const { read, written } = encoder.encodeInto(key, this.bytes.subarray(start));
    if (read !== key.length || written > LIMITS.stateKeyBytesMax) throw tooLong(key);
    if (!isWellFormed(key)) throw new ShoalError('SHOAL_E_USAGE', 'a key has half of a surrogate pair');
    this.#done(name, start + written, hashOf(this.bytes, start, start + written));
  }

  #done(name: StateName, length: number, keyHash: number): void {
    this.nameLength = name.bytes.length;
    this.length = length;
    this.keyHash = keyHash >>> 0;
    this.hash = mixed(keyHash, name.hash);
  }
}

function isWellFormed(text: string): boolean {
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}

function tooLong(key: string): ShoalError {
  const found = Buffer.byteLength(key);
  const detail = `a key of ${found} bytes is above the limit of ${LIMITS.stateKeyBytesMax}: use a hash of it as the key`;
  return new ShoalError('SHOAL_E_STATE_SIZE', detail);
}
