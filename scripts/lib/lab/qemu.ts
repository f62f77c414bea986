import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, type Kernel } from './kernel.js';

const QEMU = 'qemu-system-x86_64';
const PROBE_MS_MAX = 15_000;
/** Emulated, an old processor costs a fifth less than one with all features; `rdrand` fills the kernel's random pool. */
const CPU = { kvm: 'host', tcg: 'Nehalem,+rdrand' } as const;
export type Acceleration = keyof typeof CPU;

const PARAMETERS = [
  ...['console=ttyS0', 'quiet', 'loglevel=4', 'panic=-1', 'net.ifnames=0', 'cgroup_no_v1=all', 'mitigations=off'],
  // On a busy host the emulated clocks stall at times, which is no fault of theirs.
  ...['no_timer_check', 'tsc=reliable'],
];

export interface Boot {
  kernel: Kernel;
  initramfs: string;
  acceleration: Acceleration;
}

/** Starts QEMU with a machine of that kernel; the console goes to the file. Should this process die, QEMU does too. */
export function startQemu(boot: Boot, console: string, args: string[], env: Record<string, string>): ChildProcess {
  // The kernel hands what it does not know to the first program, as environment.
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const append = [...PARAMETERS, ...words];
  const all = [
    ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-machine', 'q35,usb=off,vmport=off'],
    ['-accel', boot.acceleration, '-cpu', CPU[boot.acceleration], '-serial', 'chardev:console'],
    // A machine that boots again says more.
    ['-chardev', `file,id=console,path=${console},append=on`],
    ['-kernel', boot.kernel.vmlinux, '-initrd', boot.initramfs, '-append', append.join(' '), ...args],
  ].flat();
  return spawn('setpriv', ['--pdeathsig', 'KILL', QEMU, ...all], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** KVM where it can run a guest, which is tried once for each boot of this host; else emulation. */
export async function findAcceleration(kernel: Kernel, initramfs: string): Promise<Acceleration> {
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const remembered = join(cacheFolder(), 'acceleration');
  const [of, known] = (await readFile(remembered, 'utf8').catch(() => '')).split(' ');
  if (of === boot && (known === 'kvm' || known === 'tcg')) return known;
  const found = (await runsUnderKvm(kernel, initramfs)) ? 'kvm' : 'tcg';
  await writeFile(remembered, `${boot} ${found}`);
  return found;
}

/** /dev/kvm may be there and yet never run a guest: a machine that only says that it is up is given some seconds. */
async function runsUnderKvm(kernel: Kernel, initramfs: string): Promise<boolean> {
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lab-probe-'));
  const console = join(folder, 'console');
  try {
    const boot: Boot = { kernel, initramfs, acceleration: 'kvm' };
    const qemu = startQemu(boot, console, ['-m', '256'], { LAB_PROBE: '1' });
    const timer = setTimeout(() => qemu.kill('SIGKILL'), PROBE_MS_MAX);
    await new Promise((resolve) => qemu.once('error', resolve).once('exit', resolve));
    clearTimeout(timer);
    return (await readFile(console, 'utf8').catch(() => '')).includes('lab: up');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
