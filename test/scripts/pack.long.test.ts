import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { freePort } from '../../scripts/lib/demo/cluster.js';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');

function run(program: string, words: string[], cwd: string): Promise<string> {
  return new Promise((done, failed) => {
    execFile(program, words, { cwd, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else failed(new Error(`${program} ${words.join(' ')}: ${error.message}\n${stdout}\n${stderr}`));
    });
  });
}

t.test('the packed package, installed in an empty folder, gives a working shoal', { timeout: 540_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-pack-'));
  const runFolder = await mkdtemp('/run/shoal-pack-');
  await chmod(runFolder, 0o711);
  let up: ChildProcess | undefined;
  t.teardown(async () => {
    if (up !== undefined && up.exitCode === null) {
      const exited = new Promise((ended) => up?.once('exit', ended));
      up.kill('SIGTERM');
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
    await rm(runFolder, { recursive: true, force: true });
  });
  const packed = (await run(join(ROOT, 'scripts/pack'), ['--built', folder], ROOT)).trim().split('\n').at(-1) ?? '';
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  await run('npm', ['install', '--no-fund', '--no-audit', '--ignore-scripts', '--loglevel=error', packed], folder);
  const shoal = join(folder, 'node_modules/.bin/shoal');
  t.match(JSON.parse(await run(shoal, ['version', '--json'], folder)), { cli: /^\d/ });
  const findings = JSON.parse(await run(shoal, ['doctor', '--json'], folder)) as { id: string; met: boolean }[];
  t.equal(findings.find((each) => each.id === 'native')?.met, true);

  // A component that imports the SDK, from a folder that only root can pass.
  await mkdir(join(folder, 'app'), { mode: 0o755 });
  await writeFile(
    join(folder, 'app/main.mjs'),
    "import { connect } from 'shoal/sdk';\nawait (await connect()).ready();\n",
  );
  const manifest =
    'app: packed\ncomponents:\n  one:\n    rootfs: host\n    directory: app\n    command: [node, main.mjs]\n';
  await writeFile(join(folder, 'shoal.yaml'), manifest);
  const listen = `127.0.0.1:${await freePort()}`;
  const folders = ['--data', join(runFolder, 'data'), '--run', join(runFolder, 'run')];
  up = spawn(shoal, ['up', '--down', ...folders, '--listen', listen], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  await new Promise<void>((ready, ended) => {
    const hear = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(listen) && output.includes('connected')) ready();
    };
    up?.stdout?.on('data', hear);
    up?.stderr?.on('data', hear);
    up?.once('exit', () => ended(new Error(`shoal up ended:\n${output}`)));
  });
  const server = ['--server', `http://${listen}`];
  await run(shoal, ['apply', '-f', 'shoal.yaml', '--wait', '30', ...server], folder);
  const instances = JSON.parse(await run(shoal, ['get', 'instances', '--json', ...server], folder)) as {
    phase: string;
  }[];
  t.same(
    instances.map((each) => each.phase),
    ['ready'],
  );
  await run(shoal, ['delete', 'packed', '--wait', ...server], folder);
});
