import { join } from 'node:path';
import { Authority } from '../../../identity/authority.js';
import { CHECKOUT, type Rack } from './rack.js';

/** HOST:PORT of the coordinator's API, in h1. */
export const RACK_API = '127.0.0.1:7946';
/** Of every agent: its state folder is in it, under the name of its host. */
export const RACK_RUN = '/run/agents';
const LINK = '10.0.0.1:7947';
const FABRIC_PORT = 7948;
const MKDIR_MS_MAX = 60_000;
const OUTPUT_CHARS = 20_000;

/**
 * Starts Shoal in the machines of a rack: a coordinator in h1, an agent in each, that trust the network between them, so that they
 * use RDMA. Each is started again when it ends, until so many ms are over. Answers what its processes have said last.
 */
export async function startShoalInRack(
  rack: Rack,
  labelsOf: (host: string) => readonly string[],
  timeMs: number,
): Promise<() => string> {
  const authority = new Authority(join(rack.folder, 'ca'));
  await authority.init('test');
  await authority.issue('coordinator', 'c', 1, join(rack.folder, 'c.identity'));
  let output = '';
  const heard = (text: string) => {
    output = `${output}${text}`.slice(-OUTPUT_CHARS);
  };
  const serve = (host: string, main: string, words: string[]) => {
    const script = 'while :; do "$@"; done';
    const argv = ['sh', '-c', script, 'sh', 'node', join(CHECKOUT, 'dist', main), ...words];
    const onOutput = (_: string, text: string) => heard(`${host}: ${text}`);
    const env = { SHOAL_LOG: process.env.SHOAL_LOG ?? 'warn' };
    rack.start(host, argv, { timeMs, onOutput, env }).result.catch((error: unknown) => heard(`${host}: ${error}\n`));
  };
  const identity = (name: string) => ['--identity', `/run/lab/${name}.identity`];
  const data = ['--data', '/run/data', '--run', '/run/c', '--socket', '/run/c/c.sock', '--listen', RACK_API];
  await rack.run('h1', ['mkdir', '-p', '/run/c'], { timeMs: MKDIR_MS_MAX });
  serve('h1', 'coordinator/main.js', ['--name', 'c', ...data, '--link', LINK, ...identity('c')]);
  for (const [index, host] of rack.hosts.entries()) {
    await authority.issue('agent', host, 1, join(rack.folder, `${host}.identity`));
    const run = join(RACK_RUN, host);
    await rack.run(host, ['mkdir', '-p', '-m', '711', run], { timeMs: MKDIR_MS_MAX });
    const own = ['--name', host, '--run', run, '--socket', LINK, '--profile-hertz', '0', ...identity(host)];
    const fabric = ['--fabric', `10.0.0.${index + 1}:${FABRIC_PORT}`, '--fabric-plain'];
    serve(host, 'agent/main.js', [...own, ...fabric, ...labelsOf(host).flatMap((label) => ['--label', label])]);
  }
  return () => output;
}
