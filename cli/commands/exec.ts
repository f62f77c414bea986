import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import type { Command } from 'commander';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import {
  type CommandEnd,
  EXEC_PROTOCOL,
  formatTerminalSize,
  isCommand,
  readFromCommand,
  type TerminalSize,
  type ToCommand,
} from '../../protocol/exec.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { apiPath } from '../client.js';
import { EndedWith } from '../ended-with.js';
import type { Io } from '../io.js';
import { examples, type OpenSession } from '../session.js';

/** Exit code of a command that a signal has ended, as shells say it: 128 and the number of the signal. */
const BY_SIGNAL = 128;
const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };

interface Options {
  stdin?: boolean;
  terminal?: boolean;
}

export function addExec(program: Command, open: OpenSession): void {
  program
    .command('exec')
    .summary('run a command in an instance')
    .description(
      'Run a command in a running instance, with its user and limits, and end with its exit code. What it has started ends with it; interrupting ends it. With -t it has a terminal, which is yours while it runs.',
    )
    .argument('<instance>', 'instance id')
    .argument('<command...>', 'the command and its words, after --')
    .option('-i, --stdin', 'pass standard input on to it')
    .option('-t, --terminal', 'give it a terminal: all that is typed goes to it, Ctrl-C too')
    .addHelpText(
      'after',
      examples([
        ['shoal exec search-web-1 -- ps aux', 'what runs in it'],
        ['shoal exec -t search-web-1 -- sh', 'a shell in it'],
        ['shoal exec -i search-web-1 -- sh -c "cat > /tmp/x" < x', 'a file into it'],
      ]),
    )
    .action(async (id: string, words: string[], { stdin = false, terminal = false }: Options, command: Command) => {
      if (!isCommand(words)) {
        const most = `at most ${LIMITS.execWordsMax} words of ${LIMITS.execCommandBytesMax} bytes together`;
        throw new ShoalError('SHOAL_E_USAGE', `a command has ${most}; pass what is longer with -i`);
      }
      const { client, signal, io } = await open(command);
      const keyboard = terminal ? keyboardOf(io.streams.input) : null;
      const query = new URLSearchParams(words.map((word) => ['word', word]));
      if (keyboard !== null) query.set('terminal', formatTerminalSize(sizeOf(io)));
      const path = `${apiPath('instances', id, 'exec')}?${query}`;
      const socket = await client.upgrade('POST', path, EXEC_PROTOCOL, { signal });
      const { code, signal: by } = await (keyboard === null
        ? talk(socket, io, stdin, signal)
        : inTerminal(keyboard, socket, io, signal));
      const exit = by === null ? (code ?? 1) : BY_SIGNAL + (SIGNALS[by] ?? 0);
      if (exit !== 0) throw new EndedWith(exit);
    });
}

/** Talks with the command while the user's terminal is its own: nothing that is typed is acted on here. */
async function inTerminal(keyboard: ReadStream, socket: Socket, io: Io, signal: AbortSignal): Promise<CommandEnd> {
  const { output } = io.streams;
  const restore = () => void keyboard.setRawMode(false);
  const resize = () => void socket.write(encodeFrame({ type: 'size', ...sizeOf(io) } satisfies ToCommand));
  const hangUp = () => void socket.destroy(new ShoalError('SHOAL_E_CANCELLED', 'the terminal hung up'));
  process.once('exit', restore);
  process.once('SIGHUP', hangUp);
  output.on('resize', resize);
  try {
    keyboard.setRawMode(true);
    // It may have changed since it was asked for.
    resize();
    return await talk(socket, io, true, signal, restore);
  } finally {
    output.off('resize', resize);
    process.off('SIGHUP', hangUp);
    process.off('exit', restore);
  }
}

/** Throws SHOAL_E_USAGE when standard input is no terminal. */
function keyboardOf(input: Readable): ReadStream {
  if (input instanceof ReadStream && input.isTTY) return input;
  throw new ShoalError('SHOAL_E_USAGE', '-t needs a terminal as standard input; use -i to pass on a file or a pipe');
}

function sizeOf({ size }: Io): TerminalSize {
  const { width: columns, height: rows } = size();
  return { columns, rows };
}

/** Carries input and output until the command has ended; then calls `over`, while the input is still open. */
async function talk(
  socket: Socket,
  { streams }: Io,
  withInput: boolean,
  signal: AbortSignal,
  over: () => void = () => undefined,
): Promise<CommandEnd> {
  const reader = new FrameReader();
  const send = (message: ToCommand) => socket.write(encodeFrame(message));
  const interrupt = () => socket.destroy(new ShoalError('SHOAL_E_CANCELLED', 'interrupted'));
  signal.addEventListener('abort', interrupt, { once: true });
  const stopInput = withInput ? passOn(streams.input, socket, send) : () => undefined;
  if (!withInput) send({ type: 'end' });
  try {
    for await (const chunk of socket) {
      for (const each of reader.push(chunk as Buffer)) {
        const message = readFromCommand(each);
        if (message.type === 'ended') return message;
        await writeAll(message.stream === 'stdout' ? streams.output : streams.errors, message.bytes);
      }
    }
  } catch (error) {
    throw signal.aborted ? new ShoalError('SHOAL_E_CANCELLED', 'interrupted') : unreachable(error);
  } finally {
    signal.removeEventListener('abort', interrupt);
    over();
    stopInput();
    socket.destroy();
  }
  throw signal.aborted ? new ShoalError('SHOAL_E_CANCELLED', 'interrupted') : unreachable(new Error('it was closed'));
}

function unreachable(error: unknown): ShoalError {
  if (error instanceof ShoalError) return error;
  const detail = `the connection of the command broke, and with it the command: ${toShoalError(error).message}`;
  return new ShoalError('SHOAL_E_UNREACHABLE', detail, { cause: error });
}

/** Passes input on, no faster than it is taken; answers what ends that. */
function passOn(input: Readable, socket: Socket, send: (message: ToCommand) => boolean): () => void {
  const data = (bytes: Buffer) => {
    if (send({ type: 'input', bytes })) return;
    input.pause();
    socket.once('drain', () => input.resume());
  };
  const end = () => void send({ type: 'end' });
  input.on('data', data).once('end', end);
  return () => {
    input.off('data', data).off('end', end).pause();
    // A terminal or pipe that is still read would keep the process.
    input.destroy();
  };
}

function writeAll(to: Writable, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
