import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import type { NativeHost } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { withSocketPath } from '../protocol/socket-path.js';
import { makeCommandFolder, PROCESS_WORDS, readConfig, removeCommandFolder } from './command-folder.js';
import type { Paths } from './paths.js';

/** Where a container has its terminals: a devpts of its own. */
export const TERMINALS_FOLDER = '/dev/pts';
/** What a terminal takes for the end of its input. */
const END_OF_INPUT = '\x04';
const CONSOLE_SOCKET = 'console';

/**
 * A terminal for one command in an instance. crun makes it in the instance and hands its other side over through a socket
 * (crun(1), --console-socket); its size is told beforehand, so that no program sees another.
 */
export class Terminal {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Where crun is to run: the words name files there. */
  readonly folder: string;
  /** For `crun exec`, before the instance. */
  readonly words = ['--tty', '--console-socket', CONSOLE_SOCKET, ...PROCESS_WORDS];
  readonly #native: NativeHost;
  readonly #output = new PassThrough();
  #size: TerminalSize;
  #listener: { close(): void } | undefined;
  #ours: { fd: number; stream: ReadStream } | undefined;
  #closed = false;

  /** Throws SHOAL_E_CONFLICT when the instance has no place for terminals. */
  static async make(
    { paths, native }: { paths: Paths; native: NativeHost },
    body: string,
    command: readonly string[],
    size: TerminalSize,
  ): Promise<Terminal> {
    const config = await readConfig(paths, body);
    if (!config.mounts.some(({ destination }) => destination === TERMINALS_FOLDER)) {
      const why = `${body} was started by a version of Shoal without terminals`;
      throw new ShoalError('SHOAL_E_CONFLICT', `${why}: run the command without -t, or replace the instance first`);
    }
    const consoleSize = { width: size.columns, height: size.rows };
    const fields = { args: command, terminal: true, consoleSize };
    const terminal = new Terminal(native, await makeCommandFolder(paths, body, config, fields), size);
    try {
      await terminal.#listen();
    } catch (error) {
      await terminal.close();
      throw error;
    }
    return terminal;
  }

  private constructor(native: NativeHost, folder: string, size: TerminalSize) {
    this.#native = native;
    this.folder = folder;
    this.#size = size;
    this.stdout = this.#output;
    this.stdin = new Writable({
      write: (bytes, _encoding, done) => this.#write(bytes, done),
      final: (done) => this.#write(END_OF_INPUT, done),
    });
    // Until there is a terminal.
    this.stdin.cork();
    // A program that has ended takes nothing more.
    this.stdin.on('error', () => undefined);
  }

  resize(size: TerminalSize): void {
    this.#size = size;
    if (this.#ours !== undefined && !this.#ours.stream.destroyed) {
      this.#native.resizeTerminal(this.#ours.fd, size.columns, size.rows);
    }
  }

  /** crun has ended: where it handed nothing over, there is nothing to read. */
  ended(): void {
    if (this.#ours === undefined) this.#output.end();
  }

  /** Hangs up. Safe to call again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listener?.close();
    this.#ours?.stream.destroy();
    this.ended();
    this.stdin.destroy();
    await removeCommandFolder(this.folder);
  }

  #listen(): Promise<void> {
    return withSocketPath(join(this.folder, CONSOLE_SOCKET), async (short) => {
      this.#listener = this.#native.listenPackets(short, (socket) => this.#accept(socket), true);
    });
  }

  #accept(socket: number): void {
    const sent = this.#native.openPackets(
      socket,
      (_name, fds) => {
        const [fd, ...more] = fds;
        for (const each of more) closeSync(each);
        if (fd === undefined) return;
        sent.close();
        if (this.#closed || this.#ours !== undefined) closeSync(fd);
        else this.#take(fd);
      },
      () => undefined,
    );
  }

  #take(fd: number): void {
    this.#listener?.close();
    const stream = new ReadStream(fd);
    this.#ours = { fd, stream };
    // It says EIO when all programs have closed the other side (pty(7)).
    stream.on('error', () => undefined);
    stream.once('close', () => this.#output.end());
    stream.pipe(this.#output, { end: false });
    this.resize(this.#size);
    this.stdin.uncork();
  }

  #write(bytes: Uint8Array | string, done: (error?: Error | null) => void): void {
    const stream = this.#ours?.stream;
    if (stream === undefined || stream.destroyed) done(new Error('the terminal is gone'));
    else stream.write(bytes, (error) => done(error));
  }
}
