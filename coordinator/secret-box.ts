import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { ShoalError } from '../protocol/errors.js';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';

/**
 * Seals the values of secrets for the store, by AES-256-GCM (NIST SP 800-38D) with a key that is not in it. Each is bound to its
 * name, so that whoever can write to the store cannot pass one off as another.
 */
export class SecretBox {
  readonly #path: string | null;
  readonly #mayMake: boolean;
  #key: Buffer | undefined;

  /** `mayMake`: nobody else has to have the same key, so that a missing one is made. Null: no secrets can be had. */
  constructor(path: string | null, mayMake: boolean) {
    this.#path = path;
    this.#mayMake = mayMake;
  }

  /** Throws SHOAL_E_HOST when there is no key. */
  seal(name: string, value: Uint8Array): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#keyFor(true), nonce).setAAD(Buffer.from(name));
    const text = Buffer.concat([cipher.update(value), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64');
  }

  /** Throws SHOAL_E_HOST when there is no key, or it is not the one that has sealed it. */
  unseal(name: string, sealed: string): Buffer {
    const bytes = Buffer.from(sealed, 'base64');
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv(CIPHER, this.#keyFor(false), nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(name)).setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new ShoalError('SHOAL_E_HOST', `${this.#path} is not the key that has sealed the secret ${name}`, {
        cause,
      });
    }
  }

  #keyFor(sealing: boolean): Buffer {
    this.#key ??= this.#read(sealing);
    return this.#key;
  }

  #read(sealing: boolean): Buffer {
    if (this.#path === null) {
      const remedy = `head -c ${KEY_BYTES} /dev/urandom > FILE, the same for every coordinator, and give each --secret-key FILE`;
      throw new ShoalError('SHOAL_E_HOST', `this coordinator has no key for secrets: ${remedy}`);
    }
    if (sealing && this.#mayMake) makeKey(this.#path);
    let key: Buffer;
    try {
      key = readFileSync(this.#path);
    } catch (cause) {
      throw new ShoalError('SHOAL_E_HOST', `cannot read the key for secrets: ${(cause as Error).message}`, { cause });
    }
    if (key.length === KEY_BYTES) return key;
    throw new ShoalError('SHOAL_E_HOST', `${this.#path} must hold ${KEY_BYTES} bytes, not ${key.length}`);
  }
}

/** Whole or not at all, and never over one that is there. */
function makeKey(path: string): void {
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw new ShoalError('SHOAL_E_HOST', `cannot make the key for secrets: ${(cause as Error).message}`, { cause });
  }
  try {
    writeSync(file, randomBytes(KEY_BYTES));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
