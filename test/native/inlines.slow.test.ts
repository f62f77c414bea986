import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { native } from '../../native/index.js';
import { compile, end, gather, makeCgroup, makeFolder, type NamedStack, runInside, startProfiler } from './workload.js';

const PROGRAM = join(dirname(native.shimPath()), 'shoal-inlines');
/** More than it may take of CPU time, on a machine that is slow as well. */
const WAIT_MS_MAX = 60_000;
const BROKEN_FILES = 60;
/** What names inlined functions is a process of its own, and takes its time. */
const WINDOWS_MAX = 100;
/** As native/src/symbols/inline_answer.h says. */
const SPLIT_STATUS = 3;

interface Inlined {
  name: string;
  line: number;
}

/** Runs it as the agent does: the file as descriptor 3. */
function run(file: string, addresses: readonly bigint[]): SpawnSyncReturns<Buffer> {
  const fd = openSync(file, 'r');
  try {
    const input = Buffer.from(new BigUint64Array(addresses).buffer);
    return spawnSync(PROGRAM, [], { input, stdio: ['pipe', 'pipe', 'pipe', fd], timeout: WAIT_MS_MAX });
  } finally {
    closeSync(fd);
  }
}

/** Of each address those inlined there, innermost first, as native/src/symbols/inline_answer.h says. */
function read(answer: Buffer): Inlined[][] {
  const all: Inlined[][] = [];
  let at = 0;
  const text = () => {
    const bytes = answer.readUInt16LE(at);
    at += 2 + bytes;
    return answer.toString('utf8', at - bytes, at);
  };
  while (at < answer.length) {
    const count = answer.readUInt8(at);
    at += 1;
    const functions = Array.from({ length: count }, () => {
      const name = text();
      text();
      at += 4;
      return { name, line: answer.readUInt32LE(at - 4) };
    });
    all.push(functions);
  }
  return all;
}

/** Of each instruction of the program's own functions. */
function addressesOf(program: string): bigint[] {
  const { stdout } = spawnSync('objdump', ['-d', '--no-show-raw-insn', '--section=.text', program], {
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  return Array.from(stdout.matchAll(/^ +([0-9a-f]+):\t/gm), ([, address]) => BigInt(`0x${address}`));
}

/** What addr2line says of the same, in the same form: a function is called where the one after it is. */
function byAddr2line(tool: string, program: string, addresses: readonly bigint[]): Inlined[][] {
  const input = addresses.map((each) => each.toString(16)).join('\n');
  const { stdout } = spawnSync(tool, ['-a', '-i', '-f', '-e', program], { input, encoding: 'utf8' });
  const parts = stdout.split(/^0x[0-9a-f]+\n/m).slice(1);
  return parts.map((part) => {
    const lines = part.trimEnd().split('\n');
    const names = lines.filter((_, place) => place % 2 === 0);
    const places = lines.filter((_, place) => place % 2 === 1);
    return names
      .slice(0, -1)
      .map((name, place) => ({ name, line: Number(/:(\d+)/.exec(places[place + 1] ?? '')?.[1] ?? 0) }));
  });
}

t.test('of each instruction: the same as addr2line says', async (t) => {
  const folder = await makeFolder(t);
  const forms: Record<string, string[]> = {
    C: ['cc', '-O2', '-g', '-DINLINED'],
    'C++': ['c++', '-x', 'c++', '-O3', '-g', '-DINLINED'],
    'DWARF 4, compressed': ['cc', '-O2', '-gdwarf-4', '-gz', '-DINLINED'],
    LLVM: ['clang', '-O2', '-g', '-DINLINED'],
  };
  for (const [form, compiler] of Object.entries(forms)) {
    const program = join(folder, form);
    compile('shares.c', program, compiler);
    const addresses = addressesOf(program);
    const { stdout, status } = run(program, addresses);
    t.equal(status, 0, form);
    const found = read(stdout);
    // That of binutils does not know all that LLVM writes.
    const wanted = byAddr2line(form === 'LLVM' ? 'llvm-addr2line' : 'addr2line', program, addresses);
    t.ok(wanted.filter((each) => each.length >= 2).length > 5, 'some are within each other');
    // Of functions of C++ that no other file can call addr2line tells the name of the one that they are in.
    const lines = (all: Inlined[][]) => all.map((each) => each.map(({ line }) => line));
    if (form === 'C++') t.same(lines(found), lines(wanted), form);
    else t.same(found, wanted, form);
  }
});

t.test('debug information in files of its own for each unit is not followed, which is said', async (t) => {
  const folder = await makeFolder(t);
  for (const compiler of [
    ['cc', '-O2', '-gsplit-dwarf', '-gdwarf-5', '-DINLINED'],
    ['cc', '-O2', '-gsplit-dwarf', '-gdwarf-4', '-DINLINED'],
  ]) {
    const program = join(folder, 'split');
    compile('shares.c', program, compiler);
    const addresses = addressesOf(program);
    const { stdout, status } = run(program, addresses);
    t.equal(status, SPLIT_STATUS, compiler.join(' '));
    t.ok(
      read(stdout).every(({ length }) => length === 0),
      'nothing is made up',
    );
  }
  const cgroup = await makeCgroup(t);
  const profiler = startProfiler(t, 997);
  profiler.watch(cgroup);
  const child = runInside(cgroup, [join(folder, 'split')]);
  try {
    let told = await profiler.drain();
    for (let windows = 0; windows < WINDOWS_MAX && told.inlinesLeftOut.length === 0; windows += 1) {
      await gather(profiler, 100);
      told = await profiler.drain();
    }
    const { inlinesLeftOut, inlinesSeconds } = told;
    t.same(inlinesLeftOut, [{ file: 'split', why: 'split' }]);
    t.ok(inlinesSeconds > 0, 'what reading took is told');
  } finally {
    await end(child);
  }
});

t.test('it can do nothing but read that file', async (t) => {
  const folder = await makeFolder(t);
  const program = join(folder, 'shares');
  compile('shares.c', program, ['cc', '-O2', '-g', '-DINLINED']);
  const trace = spawnSync('strace', ['-f', '-o', join(folder, 'trace'), 'true']);
  if (trace.error !== undefined || trace.status !== 0) return t.comment('strace is not installed or cannot run here');
  const fd = openSync(program, 'r');
  const input = Buffer.from(new BigUint64Array(addressesOf(program)).buffer);
  const command = ['-f', '-o', join(folder, 'trace'), PROGRAM];
  const { status } = spawnSync('strace', command, { input, stdio: ['pipe', 'pipe', 'pipe', fd] });
  closeSync(fd);
  t.equal(status, 0);
  const [, after = ''] = (await readFile(join(folder, 'trace'), 'utf8')).split('SECCOMP_MODE_FILTER');
  t.match(after, /write\(1/, 'it answers');
  for (const line of after.split('\n').slice(1)) {
    if (/ (open|openat|execve|socket|clone|readlink)\(/.test(line)) t.match(line, /EPERM/, 'others are refused');
  }
});

t.test('files that are broken, or made to: an answer or none, in time', async (t) => {
  const folder = await makeFolder(t);
  const program = join(folder, 'shares');
  compile('shares.c', program, ['cc', '-O2', '-g', '-DINLINED']);
  const whole = await readFile(program);
  const addresses = addressesOf(program);
  let answered = 0;
  for (let seed = 1; seed <= BROKEN_FILES; seed += 1) {
    const broken = Buffer.from(whole);
    // A few bytes anywhere; every third file is cut besides.
    let lot = seed;
    for (let change = 0; change < 1 << (seed % 8); change += 1) {
      lot = Math.imul(lot ^ (lot >>> 15), 0x2c1b3c6d) + seed;
      broken.writeUInt8(lot & 255, (lot >>> 8) % broken.length);
    }
    await writeFile(program, seed % 3 === 0 ? broken.subarray(0, (lot >>> 4) % broken.length) : broken);
    const { error, status, stdout } = run(program, addresses);
    t.equal(error, undefined, `seed ${seed} ends in time`);
    if (status === 0) answered += 1;
    if (status === 0) t.equal(read(stdout).length, addresses.length);
  }
  t.ok(answered > 0 && answered < BROKEN_FILES, `${answered} of ${BROKEN_FILES} can be read still`);
});

t.test('debug information that was stripped is found by link beside the file, by build id in its root', async (t) => {
  const folder = await makeFolder(t);
  const program = join(folder, 'shares');
  const link = '--add-gnu-debuglink=shares.debug';
  for (const [options, place, words, argv] of [
    [['-Wl,--build-id'], '.debug/shares.debug', [link], [program]],
    // Then its check sum tells that it is the right one.
    [['-Wl,--build-id=none'], '.debug/shares.debug', [link], [program]],
    // As in a container: nothing but the program is there, and that folder.
    [
      ['-Wl,--build-id=0x0123456789abcdef', '-static'],
      'usr/lib/debug/.build-id/01/23456789abcdef.debug',
      [],
      ['chroot', folder, '/shares'],
    ],
  ] as const) {
    compile('shares.c', program, ['cc', '-O2', '-g', '-DINLINED', ...options]);
    const objcopy = (...given: string[]) => t.equal(spawnSync('objcopy', given, { cwd: folder }).status, 0);
    objcopy('--only-keep-debug', 'shares', 'shares.debug');
    objcopy('--strip-all', ...words, 'shares');
    await mkdir(dirname(join(folder, place)), { recursive: true });
    await rename(join(folder, 'shares.debug'), join(folder, place));
    const cgroup = await makeCgroup(t);
    const profiler = startProfiler(t, 997);
    profiler.watch(cgroup);
    const child = runInside(cgroup, argv);
    try {
      const isNamed = ({ names }: NamedStack) => names.includes('sixty') && names.includes('work');
      let stacks = await gather(profiler, 100);
      for (let windows = 1; windows < WINDOWS_MAX && !stacks.some(isNamed); windows += 1) {
        stacks = await gather(profiler, 100);
      }
      t.ok(stacks.some(isNamed), place);
    } finally {
      await end(child);
    }
  }
});
