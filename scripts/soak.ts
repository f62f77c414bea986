import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { randomFrom } from '../coordinator/brain/forecast/random.js';
import { quantile } from './lib/demo/recorder.js';
import { soak, VICTIMS } from './lib/soak/soak.js';

const USAGE = `usage: scripts/soak [--kills N] [--seed N]
Kills agent, coordinator, instances, their shims and crun by SIGKILL in the middle of reshaping, and checks after each
kill that within 10 s the host is exactly what was asked for. Exit code 0: it always was.`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    help: { type: 'boolean', default: false },
  },
});
const say = (line: string) => process.stdout.write(`${line}\n`);

if (values.help) {
  say(USAGE);
} else {
  const kills = Number(values.kills);
  const seed = Number(values.seed);
  if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) throw new Error(USAGE);
  say(`soak: ${kills} kills, seed ${seed}`);
  const dist = resolve(fileURLToPath(import.meta.url), '../..');
  const done = await soak({ dist, kills, random: randomFrom(seed), said: say });
  for (const victim of VICTIMS) {
    const times = done.filter((each) => each.victim === victim).map((each) => each.convergedMs);
    if (times.length === 0) continue;
    say(
      `${victim.padEnd(11)}  ${times.length} kills, converged p50 ${quantile(times, 0.5).toFixed(0)} ms, max ${Math.max(...times).toFixed(0)} ms`,
    );
  }
  say('soak: it always converged, and nothing was left over');
}
