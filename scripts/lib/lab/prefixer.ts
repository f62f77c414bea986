import type { Writable } from 'node:stream';

/** Writes text on with a prefix before each line. Lines are written whole, so that two machines' do not mix. */
export class LinePrefixer {
  #rest = '';

  constructor(
    private readonly prefix: string,
    private readonly target: Writable,
  ) {}

  write(text: string): void {
    const lines = `${this.#rest}${text}`.split('\n');
    this.#rest = lines.pop() as string;
    for (const line of lines) this.target.write(`${this.prefix}${line}\n`);
  }

  /** Writes a last line that had no end. */
  end(): void {
    if (this.#rest !== '') this.target.write(`${this.prefix}${this.#rest}\n`);
    this.#rest = '';
  }
}
