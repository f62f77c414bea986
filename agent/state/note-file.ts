import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import type { CopyRole } from '../../protocol/state-copies.js';
import type { CopyNote } from './copy-memory.js';

/** The note of a copy beside its segment, in memory of the host: there after a SIGKILL, gone after a restart of the host. */
export class NoteFile {
  readonly #path: string;
  /** As last written or read. */
  #stored: string | null = null;
  #epoch = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Null without one. Throws SHOAL_E_STATE_DAMAGED. */
  read(): CopyNote | null {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    const note = parseNote(text, this.#path);
    this.#stored = text;
    this.#epoch = note.epoch;
    return note;
  }

  /** As last written or read. */
  get epoch(): number {
    return this.#epoch;
  }

  write(note: CopyNote): void {
    const text = JSON.stringify(note);
    if (text === this.#stored) return;
    const path = `${this.#path}.new`;
    if (this.#stored === null) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, text, { mode: 0o600 });
    renameSync(path, this.#path);
    this.#stored = text;
    this.#epoch = note.epoch;
  }
}

const ROLES: readonly string[] = ['none', 'filling', 'replica', 'owner'] satisfies CopyRole[];

function parseNote(text: string, path: string): CopyNote {
  const fail = (cause?: unknown) => {
    const remedy = 'remove it and the segment beside it: the shard is then filled anew, or lost if it is nowhere else';
    return new ShoalError('SHOAL_E_STATE_DAMAGED', `${path} is no note of a copy; ${remedy}`, { cause });
  };
  let note: CopyNote | null;
  try {
    note = JSON.parse(text) as CopyNote | null;
  } catch (cause) {
    throw fail(cause);
  }
  const counts = [note?.epoch, note?.attempts].every(Number.isSafeInteger);
  if (note === null || !counts || !ROLES.includes(note.role) || !Array.isArray(note.requires)) throw fail();
  return note;
}
