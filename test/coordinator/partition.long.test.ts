import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { measureInOwnNetwork } from '../../scripts/lib/bench/cluster-net.js';
import { rackProblem } from '../../scripts/lib/cluster/net-rack.js';

const DIST = resolve(fileURLToPath(import.meta.url), '../../..');

const skip = (await rackProblem()) ?? false;

t.test(
  'when the leader is cut off or killed another takes changes, and all agents leave the old one for it, again and again',
  { timeout: 400_000, skip },
  async (t) => {
    // Each of the two is waited for within, with a bound.
    const options = { dist: DIST, hosts: 2, cuts: 2, kills: 1, restSeconds: 0 };
    const { cut, killed } = await measureInOwnNetwork(options, `part${process.pid}`);
    t.equal(cut.changeMs.length, 2);
    t.equal(killed.changeMs.length, 1);
    t.comment(
      `another leader after ${cut.changeMs.map(Math.round)} ms, with all agents after ${cut.agentsMs.map(Math.round)} ms`,
    );
  },
);
