import type { Io } from './io.js';

// DEC private modes 1049 (alternate screen) and 25 (cursor), and ECMA-48 controls, which every terminal in use knows.
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE_REST = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/** The terminal's alternate screen, drawn over from the top so that nothing flickers. What was there comes back on close. */
export class Screen {
  #open = true;

  readonly #onExit = (): void => this.close();

  constructor(private readonly io: Io) {
    io.out(ENTER);
    // An end that nothing could catch must not leave the user without cursor either.
    process.once('exit', this.#onExit);
  }

  draw(frame: (size: { width: number; height: number }) => string[]): void {
    if (!this.#open) return;
    const { width, height } = this.io.size();
    // The last column stays free: after a character there, clearing the rest of the line would clear that character.
    const lines = frame({ width: width - 1, height }).slice(0, height);
    this.io.out(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE_REST}`).join('\r\n')}${CLEAR_BELOW}`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.off('exit', this.#onExit);
    this.io.out(LEAVE);
  }
}
