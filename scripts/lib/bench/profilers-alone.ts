import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { ProfileRecorder } from '../../../agent/profiles/recorder.js';
import { native } from '../../../native/index.js';
import { LIMITS } from '../../../protocol/limits.js';
import { within } from '../until.js';
import { residentMebibytes } from './process-use.js';

/** Cgroups that are profiled are of so many components. */
const COMPONENTS = 10;
const APP = 'bench';
const ANSWER_MS_MAX = 60_000;

export interface Watched {
  cgroups: readonly string[];
  /** Where profiles are kept. */
  folder: string;
  activity: boolean;
  systemCalls: boolean;
}

/** User and system time since the start, and what is held in memory. */
export interface Use {
  cpuSeconds: number;
  mebibytes: number;
}

/** All that an agent profiles its instances by. */
export class Profilers {
  readonly stacks = native.createStackProfiler();
  readonly cpu = native.createProfiler();
  readonly activity = native.createActivityProfiler();
  readonly #recorder: ProfileRecorder;
  readonly #folder: string;
  readonly #countsActivity: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor({ cgroups, folder, activity, systemCalls }: Watched) {
    this.#folder = folder;
    this.#countsActivity = activity;
    this.stacks.start(LIMITS.profileHertzDefault, true);
    this.cpu.start();
    if (activity) this.activity.start(systemCalls);
    this.#recorder = new ProfileRecorder({
      profiler: this.stacks,
      activity: activity ? this.activity : null,
      hertz: LIMITS.profileHertzDefault,
      folder,
      clock: Date.now,
      log: pino({ level: 'silent' }),
    });
    for (const [i, cgroup] of cgroups.entries()) {
      this.#recorder.watch(cgroup, { app: APP, component: `c${i % COMPONENTS}` });
      this.cpu.watch(cgroup);
      if (activity) this.activity.watch(cgroup);
    }
  }

  /**
   * The first round reads the tables of the programs. All faults are looked at until the second, since how many come is
   * known only then: both are paid once in the life of an agent.
   */
  async begin(): Promise<void> {
    for (let round = 0; round < 2; round += 1) {
      await setTimeout(LIMITS.profileDrainMs);
      await this.#round();
    }
    this.#timer = setInterval(() => void this.#round(), LIMITS.profileDrainMs);
  }

  /** As an agent does: the figures of all instances, and the stacks. */
  #round(): Promise<void> {
    this.cpu.read();
    if (this.#countsActivity) this.activity.read();
    return this.#recorder.round();
  }

  get lost(): number {
    return this.#recorder.figures().samplesLost;
  }

  /** Of the processes that read debug information. */
  get inlinesSeconds(): number {
    return this.#recorder.figures().inlinesSeconds ?? 0;
  }

  /** Taken on a CPU in a span, of all components. */
  async samples(fromMs: number, toMs: number): Promise<number> {
    const names = Array.from({ length: COMPONENTS }, (_, i) => `c${i}`);
    const profiles = await Promise.all(
      names.map((component) => this.#recorder.read({ app: APP, component, kind: 'cpu', fromMs, toMs })),
    );
    return profiles.flatMap(({ stacks }) => stacks).reduce((sum, { count }) => sum + count, 0);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#recorder.close();
    for (const each of [this.cpu, this.activity]) each.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The same in a process of its own, so that its use is nobody else's. */
export class ProfilersAlone {
  readonly #ended: Promise<never>;

  private constructor(private readonly child: ChildProcess) {
    this.#ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the profilers ended with code ${code}`);
    });
    this.#ended.catch(() => undefined);
  }

  static async start(watched: Watched): Promise<ProfilersAlone> {
    const alone = new ProfilersAlone(fork(import.meta.filename));
    await alone.#ask(watched);
    return alone;
  }

  async use(): Promise<Use> {
    return (await this.#ask('use')) as Use;
  }

  async close(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.send('close');
    await within('the profilers end', ANSWER_MS_MAX, exited);
  }

  async #ask(what: Watched | 'use'): Promise<unknown> {
    const answered = once(this.child, 'message');
    this.child.send(what);
    const [answer] = await within('the profilers answer', ANSWER_MS_MAX, Promise.race([answered, this.#ended]));
    return answer;
  }
}

async function serve(): Promise<void> {
  process.once('disconnect', () => process.exit());
  const [watched] = await once(process, 'message');
  const profilers = new Profilers(watched as Watched);
  process.on('message', (asked) => {
    if (asked === 'close') return void profilers.close().then(() => process.exit());
    const { user, system } = process.cpuUsage();
    void residentMebibytes(process.pid).then((mebibytes) =>
      process.send?.({ cpuSeconds: (user + system) / 1e6 + profilers.inlinesSeconds, mebibytes }),
    );
  });
  await profilers.begin();
  process.send?.('ready');
}

if (resolve(process.argv[1] ?? '') === import.meta.filename) await serve();
