import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { packageVersion } from '../../coordinator/version.js';
import type { HostView, InstanceView } from '../../protocol/http.js';
import { LINK_VERSION } from '../../protocol/link.js';
import { CoordinatorsRig, type Seat } from '../../scripts/lib/cluster/coordinators.js';
import { EtcdRig, freePorts } from '../../scripts/lib/cluster/etcd.js';
import { until } from '../../scripts/lib/until.js';

const DIST = fileURLToPath(new URL('../..', import.meta.url));
const NEXT = '99.0.0';
const ASK_EVERY_MS = 20;
const ID = 'upgrade-visits-0';
const FOLDERS = ['coordinator', 'identity', 'protocol'];
const TIMEOUT = { timeout: 240_000 };

/** The coordinator's program as the next version would be installed: by its package, and by the version of the link. */
async function installNext(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-next-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const each of FOLDERS) await cp(join(DIST, each), join(folder, 'dist', each), { recursive: true });
  await symlink(join(DIST, '../node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'shoal', version: NEXT, type: 'module' }));
  const link = join(folder, 'dist/protocol/link.js');
  const code = await readFile(link, 'utf8');
  const raised = code.replace(`LINK_VERSION = ${LINK_VERSION};`, `LINK_VERSION = ${LINK_VERSION + 1};`);
  if (raised === code) throw new Error(`${link} says no LINK_VERSION`);
  await writeFile(link, raised);
  return join(folder, 'dist/coordinator/main.js');
}

/** An instance that counts who comes, on one host with a real agent, asked all the time. */
class Serving {
  /** The last count that it answered. */
  answered = 0;
  /** What was not the next one. */
  readonly faults: string[] = [];
  readonly #folder: string;
  readonly #agent: ChildProcess;
  readonly #port: number;
  #asking = true;
  #done: Promise<void> | undefined;

  private constructor(folder: string, agent: ChildProcess, port: number) {
    this.#folder = folder;
    this.#agent = agent;
    this.#port = port;
  }

  static async start(rig: CoordinatorsRig): Promise<Serving> {
    // Not under /tmp: instances get a /tmp of their own.
    const folder = await mkdtemp('/run/shoal-test-');
    await chmod(folder, 0o711);
    const sockets = rig.seats.flatMap(({ link }) => ['--socket', link]);
    const own = ['--name', 'h1', '--run', join(folder, 'run'), '--stop-instances', '--profile-hertz', '0'];
    const agent = spawn(process.execPath, [join(DIST, 'agent/main.js'), ...own, ...sockets], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SHOAL_LOG: 'fatal' },
    });
    const [port = 0] = await freePorts(1);
    const serving = new Serving(folder, agent, port);
    try {
      await serving.#apply((await rig.untilLed()).api);
      serving.#done = serving.#ask();
      await serving.untilMore(10);
    } catch (error) {
      await serving.close();
      throw error;
    }
    return serving;
  }

  async #apply(api: string): Promise<void> {
    const visits = {
      rootfs: 'host',
      directory: join(DIST, 'test/agent/components'),
      command: ['node', 'visits.mjs'],
      ports: [{ name: 'http', host: this.#port }],
      state: { mode: 'partitioned', shards: 1 },
      count: 1,
      size: { cpu: 0.5, memory: '128Mi' },
    };
    await until(async () => {
      const init = { method: 'PUT', headers: { 'content-type': 'application/json' } };
      const body = JSON.stringify({ app: 'upgrade', components: { visits } });
      return (await fetch(`${api}/v1/apps/upgrade`, { ...init, body })).ok;
    });
    await until(async () => (await lives(api))[0] === `${ID} ready 0`);
  }

  async #ask(): Promise<void> {
    while (this.#asking) {
      const answer = await fetch(`http://127.0.0.1:${this.#port}/`)
        .then((response) => response.text())
        .catch((error: Error) => error.message);
      if (Number(answer) === this.answered + 1) this.answered += 1;
      else this.faults.push(`after ${this.answered}: ${answer}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** Once so many more requests were answered. */
  async untilMore(count: number): Promise<void> {
    const before = this.answered;
    await until(() => this.faults.length > 0 || this.answered >= before + count);
  }

  async close(): Promise<void> {
    this.#asking = false;
    await this.#done;
    if (this.#agent.exitCode === null && this.#agent.signalCode === null) {
      const exited = new Promise((resolve) => this.#agent.once('exit', resolve));
      this.#agent.kill('SIGTERM');
      await exited;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function get<T>(api: string, path: string): Promise<T> {
  const response = await fetch(api + path);
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Which instances there are and how often each was started, as the leader's host says. */
async function lives(api: string): Promise<string[]> {
  const instances = await get<InstanceView[]>(api, '/v1/instances');
  return instances.map(({ id, phase, restarts }) => `${id} ${phase} ${restarts}`).sort();
}

async function untilConnected(api: string): Promise<void> {
  await until(async () => {
    const hosts = await get<HostView[]>(api, '/v1/hosts').catch(() => []);
    return hosts[0]?.connected === true;
  });
}

/** Each coordinator is replaced by that of the next version, one after the other, while the app is asked. */
async function upgradeAll(t: Test, rig: CoordinatorsRig): Promise<void> {
  const next = await installNext(t);
  const serving = await Serving.start(rig);
  t.teardown(() => serving.close());
  const before = await lives((await rig.untilLed()).api);
  t.equal((await get<{ version: string }>((rig.seats[0] as Seat).api, '/v1/version')).version, packageVersion());
  for (const seat of rig.seats) {
    await rig.end(seat, 'SIGTERM');
    rig.launch(seat, next);
    const { api } = await rig.untilLed();
    await until(async () => (await rig.view(seat))?.role !== 'waits' && (await rig.view(seat)) !== null);
    await untilConnected(api);
    await serving.untilMore(20);
  }
  const { api } = await rig.untilLed();
  for (const seat of rig.seats) t.equal((await get<{ version: string }>(seat.api, '/v1/version')).version, NEXT);
  // What the new one decides is done: agents obey it, in the link version that both speak.
  const scale = { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"count":1}' };
  t.equal((await fetch(`${api}/v1/apps/upgrade/components/visits/scale`, scale)).status, 200);
  await serving.untilMore(20);
  t.same(await lives(api), before, 'no instance was made, ended or started again');
  t.same(serving.faults, [], `${serving.answered} requests were answered, each once and with what was counted`);
}

t.test(
  'three coordinators are upgraded one after the other, and the app serves as if nothing were',
  TIMEOUT,
  async (t) => {
    const etcd = await EtcdRig.start(1);
    t.teardown(() => etcd.close());
    const rig = await CoordinatorsRig.start(3, etcd.endpoints, ['--etcd-prefix', '/upgrade/']);
    t.teardown(() => rig.close());
    await upgradeAll(t, rig);
  },
);

t.test(
  'the only coordinator, with its embedded store, is upgraded, and the app serves meanwhile',
  TIMEOUT,
  async (t) => {
    const rig = await CoordinatorsRig.start(1, null);
    t.teardown(() => rig.close());
    await upgradeAll(t, rig);
  },
);
