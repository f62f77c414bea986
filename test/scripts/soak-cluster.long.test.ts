import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { rackProblem } from '../../scripts/lib/cluster/net-rack.js';

const SOAK = resolve(fileURLToPath(import.meta.url), '../../../scripts/soak.js');
/** Always the same faults, so that a run that fails can be told from one that had bad luck; others are played by hand. */
const SEED = 493_369;
/** Faults for half a minute; coming up, being mended and going down may each take long on a slow machine. */
const MS_MAX = 420_000;

const skip = (await rackProblem()) ?? false;

t.test(
  'a cluster in network namespaces bears what a nemesis does to it',
  { timeout: MS_MAX + 30_000, skip },
  async (t) => {
    const words = [SOAK, '--hosts', '3', '--minutes', '0.5', '--seed', String(SEED)];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
    }
    const tooLong = setTimeout(() => {
      said += `it was not done after ${MS_MAX / 1_000} s and was ended\n`;
      child.kill('SIGTERM');
    }, MS_MAX);
    const code = await new Promise((done) => child.once('exit', done));
    clearTimeout(tooLong);
    // What it started may outlive it, with its pipes, where it could not put things away.
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
    t.comment(said);
    t.equal(code, 0, `scripts/soak --hosts 3 --minutes 0.5 --seed ${SEED}`);
  },
);
