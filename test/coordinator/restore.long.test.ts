import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import t from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { EtcdRig, freePorts } from '../../scripts/lib/cluster/etcd.js';
import { retry, until, within } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';

const MAIN = fileURLToPath(new URL('../../coordinator/main.js', import.meta.url));
const PAGE = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
const WAIT_MS_MAX = 60_000;

/** The commands of "Backup and disaster" as they are written, each a line. */
const COMMANDS = (PAGE.split('## Backup and disaster\n')[1]?.split('\n## ')[0] ?? '')
  .replaceAll(/ \\\n +/g, ' ')
  .split('\n')
  .filter((line) => line.startsWith('    '))
  .map((line) => line.trim());

/** The command that begins so, with this test's places for those in it. */
function written(start: string, places: Record<string, string>): string {
  const found = COMMANDS.filter((command) => command.startsWith(start));
  if (found.length !== 1) throw new Error(`the page has ${found.length} commands that begin with ${start}`);
  return Object.entries(places).reduce((text, [from, to]) => text.replaceAll(from, to), found[0] as string);
}

const run = (command: string) => promisify(execFile)('sh', ['-c', command], { timeout: WAIT_MS_MAX });

/** One coordinator as a process, and an agent that remembers whom it has obeyed. */
class Site {
  #child: ChildProcess | undefined;
  readonly #links = new Set<Link>();

  constructor(
    readonly folder: string,
    readonly port: number,
    readonly words: readonly string[],
  ) {}

  async start(): Promise<void> {
    const own = ['--socket', join(this.folder, 'c.sock'), '--run', this.folder, '--listen', `127.0.0.1:${this.port}`];
    const env = { ...process.env, SHOAL_LOG: 'fatal' };
    this.#child = spawn(process.execPath, [MAIN, ...own, ...this.words], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    });
    await until(async () => (await this.apps()) !== null);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await within('the coordinator to stop', WAIT_MS_MAX, exited);
  }

  /** Names of the apps; null: it does not lead, or does not answer. */
  async apps(): Promise<string[] | null> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.port}/v1/apps`);
      if (!answer.ok || answer.headers.has('shoal-stale-seconds')) return null;
      return ((await answer.json()) as { app: string }[]).map(({ app }) => app).sort();
    } catch {
      return null;
    }
  }

  async apply(app: string): Promise<void> {
    const body = `app: ${app}\ncomponents:\n  one:\n    rootfs: host\n    command: [/bin/true]\n`;
    const headers = { 'content-type': 'application/yaml' };
    const put = async () => {
      const answer = await fetch(`http://127.0.0.1:${this.port}/v1/apps/${app}`, { method: 'PUT', headers, body });
      if (!answer.ok) throw new Error(await answer.text());
    };
    // On a machine that is busy a leadership may end in between.
    await retry(`app ${app} applied`, WAIT_MS_MAX, put, 100);
  }

  /**
   * An agent with the terms that were kept on this host; how often it was told its desired state, and whether a coordinator
   * lately ended its connection instead.
   */
  async agent(): Promise<{ obeyed: () => number; refused: () => boolean; link: Link }> {
    let obeyed = 0;
    let last = '';
    const write = (line: string) => {
      last = line;
    };
    const link = new Link({
      coordinators: [join(this.folder, 'c.sock')],
      host: { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] },
      agent: idleAgent({
        apply: async () => {
          obeyed += 1;
        },
      }),
      fence: await Fence.open(join(this.folder, 'term.json')),
      log: pino({ level: 'debug' }, { write }),
    });
    this.#links.add(link);
    link.start();
    return { obeyed: () => obeyed, refused: () => last.includes('closed the connection'), link };
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.close();
    await this.stop();
  }
}

type Subtest = Pick<typeof t, 'teardown' | 'same' | 'equal'>;

interface Engine {
  words: readonly string[];
  backUp(site: Site): Promise<void>;
  /** All that was stored is gone, and comes back out of the backup. */
  loseAndRestore(site: Site): Promise<void>;
}

async function backUpAndRestore(t: Subtest, folder: string, engine: Engine): Promise<void> {
  const [port = 0] = await freePorts(1);
  const site = new Site(folder, port, engine.words);
  t.teardown(() => site.close());
  await site.start();
  await site.apply('before');
  await engine.backUp(site);
  // Later leaders have higher terms, and the agent obeys the last.
  for (const app of ['after', 'later']) {
    await site.stop();
    await site.start();
    await site.apply(app);
  }
  const agent = await site.agent();
  await until(() => agent.obeyed() > 0);
  await engine.loseAndRestore(site);
  t.same(await site.apps(), ['before'], 'what was stored then is there, what came after it is not');

  const told = agent.obeyed();
  await until(() => agent.refused());
  t.equal(agent.obeyed(), told, 'the agent does not obey an older term');
  agent.link.close();
  await run(written('rm /run/shoal/term.json', { '/run/shoal': folder }));
  const fresh = await site.agent();
  await until(() => fresh.obeyed() > 0);
  await site.apply('again');
  t.same(await site.apps(), ['again', 'before'], 'and all goes on');
}

t.test('the embedded store is backed up and restored by the commands of the manual', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-restore-'));
  const data = join(folder, 'data');
  const places = { '/var/lib/shoal': data, '/root/shoal-backup': join(folder, 'backup') };
  await backUpAndRestore(t, folder, {
    words: ['--data', data],
    backUp: async (site) => {
      await site.stop();
      await run(written('cp -a /var/lib/shoal ', places));
      await site.start();
    },
    loseAndRestore: async (site) => {
      await site.stop();
      await run(written('rm -rf /var/lib/shoal', places));
      await run(written('cp -a /root/shoal-backup ', places));
      await site.start();
    },
  });
  t.teardown(() => rm(folder, { recursive: true, force: true }));
});

t.test('etcd is backed up and restored by the commands of the manual', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-restore-'));
  const etcd = await EtcdRig.start(1);
  t.teardown(async () => {
    await etcd.close();
    await rm(folder, { recursive: true, force: true });
  });
  const [member] = etcd.members;
  const places = {
    'http://10.0.0.1:2379': member?.client ?? '',
    'http://10.0.0.1:2380': member?.peer ?? '',
    '/var/lib/etcd/restored': etcd.dataOf(0),
    'shoal.snapshot': join(folder, 'shoal.snapshot'),
    n1: member?.name ?? '',
  };
  await backUpAndRestore(t, folder, {
    words: ['--etcd', etcd.endpoints.join(','), '--etcd-lease-seconds', '10'],
    backUp: async () => {
      await run(written('ETCDCTL_API=3 etcdctl --endpoints', places));
    },
    loseAndRestore: async (site) => {
      await site.stop();
      await etcd.kill(0);
      await rm(etcd.dataOf(0), { recursive: true });
      await run(written('ETCDCTL_API=3 etcdctl snapshot restore', places));
      etcd.launch(0);
      await etcd.untilHealthy();
      await site.start();
    },
  });
});
