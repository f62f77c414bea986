import type { ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Disk, makeDisk } from './disk.js';
import { LabError } from './errors.js';
import { type Boot, startQemu } from './qemu.js';
import { macOf } from './switch.js';

const CONSOLE_CHARS_SHOWN = 4_000;

export interface MachineOptions {
  /** h1, h2, … */
  name: string;
  number: number;
  cpus: number;
  memoryMib: number;
  boot: Boot;
  /** What the machine sees as /run/lab. */
  share: string;
  /** The Unix socket of its port of the switch. */
  network: string;
  /** The Unix socket to make for its serial line. */
  line: string;
  /** An image with ext4, to be made, that holds what it writes; null: memory does. */
  disk: Disk | null;
}

interface Events {
  /** A line that the machine said, in words. */
  line: [words: string[]];
  /** QEMU ended. */
  ended: [];
}

/** One QEMU process and the serial line on which its init takes requests: see guest/serve.sh. */
export class Machine extends EventEmitter<Events> {
  #qemu: ChildProcess | undefined;
  #line: Socket | undefined;
  #server: Server | undefined;
  #ended = false;
  #stopped = false;
  #errors = '';

  constructor(readonly options: MachineOptions) {
    super();
    // One for each command that runs.
    this.setMaxListeners(0);
  }

  get name(): string {
    return this.options.name;
  }

  /**
   * Boots; resolves when the machine takes commands. One that does not within so many milliseconds is ended and booted once
   * more, from nothing: emulated, one in hundreds hangs before its kernel has said a word.
   */
  async boot(firstMs: number): Promise<void> {
    const { line } = this.options;
    this.#server = createServer((socket) => this.#take(socket));
    await new Promise<void>((resolve, reject) => this.#server?.once('error', reject).listen(line, resolve));
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#qemu?.kill('SIGKILL');
    }, firstMs);
    try {
      await this.#startNew();
    } catch (error) {
      if (!isLate || this.#stopped) throw error;
      this.#forget();
      await this.#startNew();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it in good order, under systemd, and boots it with what is on its disk; resolves when it takes commands. */
  async reboot(): Promise<void> {
    const ended = once(this, 'ended');
    this.say('reboot');
    await ended;
    this.#forget();
    await this.#start();
  }

  /** The QEMU process that has ended. */
  #forget(): void {
    this.#line?.destroy();
    this.#ended = false;
  }

  async #startNew(): Promise<void> {
    const { disk } = this.options;
    if (disk !== null) await makeDisk(disk);
    await this.#start();
  }

  async #start(): Promise<void> {
    const { boot, name, disk } = this.options;
    if (this.#stopped) throw await this.#failure('ready');
    const ready = this.said('ready');
    const env = { LAB_HOST: name, LAB_DISK: disk === null ? '0' : '1' };
    this.#qemu = startQemu(boot, this.#console, this.#devices(), env);
    this.#qemu.stderr?.on('data', (chunk: Buffer) => {
      this.#errors += chunk.toString();
    });
    this.#qemu.once('error', (error) => this.#end(error.message));
    this.#qemu.once('exit', () => this.#end(''));
    await ready;
  }

  /** Waits for a line of guest/serve.sh with that word and that id; answers the word after it. */
  said(what: string, id?: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = (words: string[]) => {
        if (words[0] !== what || words[1] !== id) return;
        this.off('line', look).off('ended', lost);
        resolve(words[2] ?? '');
      };
      const lost = () => void this.#failure(what).then(reject);
      this.on('line', look).once('ended', lost);
      if (this.#ended) lost();
    });
  }

  /** Sends one request of guest/serve.sh. */
  say(...words: string[]): void {
    this.#line?.write(`${words.join(' ')}\n`);
  }

  /** Ends the machine at once; nothing in it matters any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#server?.close();
    if (this.#qemu !== undefined && !this.#ended) {
      this.#qemu.kill('SIGKILL');
      await once(this, 'ended');
    }
    this.#line?.destroy();
  }

  /** An error that shows what QEMU and the machine's kernel said last. */
  async #failure(awaited: string): Promise<LabError> {
    const console = await readFile(this.#console, 'utf8').catch(() => '');
    const said = `${this.#errors}${console}`.trim().slice(-CONSOLE_CHARS_SHOWN);
    const what = awaited === 'ready' ? 'did not come up' : 'ended under a command';
    const kind = awaited === 'ready' ? 'boot' : 'lost';
    return new LabError(kind, `${this.name} ${what}; its console: ${said === '' ? '(silent)' : `\n${said}`}`);
  }

  get #console(): string {
    return join(this.options.share, this.name, 'console');
  }

  #devices(): string[] {
    const { cpus, memoryMib, name, number, network, share, line, disk } = this.options;
    return [
      // Not written through to this host's disk: it is gone with the rack.
      disk === null ? [] : ['-drive', `if=none,id=disk,file=${disk.path},format=raw,cache=unsafe`],
      disk === null ? [] : ['-device', 'virtio-blk-pci,drive=disk'],
      ['-name', name, '-smp', String(cpus), '-m', String(memoryMib)],
      ['-fsdev', 'local,id=root,path=/,readonly=on,security_model=none,multidevs=remap'],
      ['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
      ['-fsdev', `local,id=share,path=${share},security_model=none`],
      ['-device', 'virtio-9p-pci,fsdev=share,mount_tag=share'],
      ['-netdev', `stream,id=net,server=off,addr.type=unix,addr.path=${network}`],
      ['-device', `virtio-net-pci,netdev=net,mac=${macOf(number)},romfile=`],
      ['-chardev', `socket,id=line,path=${line}`, '-device', 'virtio-serial-pci'],
      ['-device', 'virtserialport,chardev=line,name=lab'],
    ].flat();
  }

  #take(socket: Socket): void {
    this.#line = socket;
    const lines = createInterface({ input: socket });
    lines.on('line', (text) => this.emit('line', text.split(' ')));
    // It breaks when QEMU ends, which is noticed by itself.
    lines.on('error', () => socket.destroy());
  }

  #end(message: string): void {
    this.#ended = true;
    this.#errors += message;
    this.emit('ended');
  }
}
