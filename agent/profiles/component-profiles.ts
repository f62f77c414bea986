import { join } from 'node:path';
import { LIMITS } from '../../protocol/limits.js';
import { mergeProfiles, type Profile, type ProfileKind, ProfileSum } from '../../protocol/profile.js';
import { decodeProfile, encodeProfile } from './profile-codec.js';
import { RingFolder } from './ring-folder.js';

/** What was gathered in one go. */
export type Gathered = Pick<Profile, 'fromMs' | 'toMs' | 'lost' | 'functions' | 'stacks' | 'notes'>;

/** Gathered parts of more stacks are summed up at once, which bounds what they take; others once, with what comes after. */
const SUMMED_FROM_STACKS = 500;

/** A sum that becomes a block when its time has come. */
interface Begun {
  fromMs: number;
  toMs: number;
  sum: ProfileSum;
  lost: number;
}

/**
 * The profiles of one kind of one component: of the last seconds by the second in memory, before that in blocks on disk,
 * and of long ago in longer blocks. Each is kept to a bound of its own.
 */
export class ComponentProfiles {
  readonly #blocks: RingFolder;
  readonly #longBlocks: RingFolder;
  #recent: Gathered[] = [];
  /** Of these the next block is made. */
  #pending: Gathered[] = [];
  #longBlock: Begun | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    readonly folder: string,
    private readonly kind: ProfileKind,
    private readonly hertz: number,
  ) {
    this.#blocks = new RingFolder(join(folder, 'blocks'), LIMITS.profileBlockBytesMax);
    this.#longBlocks = new RingFolder(join(folder, 'long-blocks'), LIMITS.profileLongBlockBytesMax);
  }

  add(gathered: Gathered): void {
    const { stacks, fromMs, toMs } = gathered;
    const part = stacks.length < SUMMED_FROM_STACKS ? gathered : this.#merged([gathered], fromMs, toMs);
    this.#recent.push(part);
    this.#pending.push(part);
  }

  /** Writes what is due, or with `all` what there is. Rejects when the disk does not take it; that block is gone then. */
  flush(nowMs: number, all = false): Promise<void> {
    const oldestMs = nowMs - LIMITS.profileRecentMs;
    this.#recent = this.#recent.filter(({ fromMs }) => fromMs >= oldestMs && fromMs <= nowMs);
    const flushed = this.#writing.then(() => this.#flush(nowMs, all));
    this.#writing = flushed.catch(() => undefined);
    return flushed;
  }

  async #flush(nowMs: number, all: boolean): Promise<void> {
    const pending = this.#pending;
    const first = pending[0];
    if (first !== undefined && (all || isPast(first.fromMs, nowMs, LIMITS.profileBlockMs))) {
      this.#pending = [];
      const { fromMs } = first;
      const { toMs } = pending.at(-1) ?? first;
      const profile = this.#merged(pending, fromMs, toMs);
      this.#longBlock = joined(this.#longBlock, profile);
      await this.#blocks.append({ fromMs, toMs, bytes: encodeProfile(profile) });
    }
    const long = this.#longBlock;
    if (long !== null && (all || isPast(long.fromMs, nowMs, LIMITS.profileLongBlockMs))) {
      this.#longBlock = null;
      const { fromMs, toMs, lost, sum } = long;
      const profile = sum.profile({ kind: this.kind, fromMs, toMs, hertz: this.hertz, lost });
      await this.#longBlocks.append({ fromMs, toMs, bytes: encodeProfile(profile) });
    }
  }

  /** What is known of the span: by the finest blocks that reach back so far. */
  async read(fromMs: number, toMs: number): Promise<Profile> {
    await this.#writing;
    const recentMs = this.#recent[0]?.fromMs ?? Number.POSITIVE_INFINITY;
    const blocksMs = Math.min((await this.#blocks.oldestMs()) ?? Number.POSITIVE_INFINITY, recentMs);
    const long = await this.#longBlocks.read(fromMs, Math.min(toMs, blocksMs));
    const blocks = await this.#blocks.read(fromMs, Math.min(toMs, recentMs));
    const recent = this.#recent.filter((each) => {
      const middle = (each.fromMs + each.toMs) / 2;
      return middle >= fromMs && middle < toMs;
    });
    return this.#merged([...[...long, ...blocks].map(({ bytes }) => decodeProfile(bytes)), ...recent], fromMs, toMs);
  }

  async bytes(): Promise<number> {
    return (await this.#blocks.bytes()) + (await this.#longBlocks.bytes());
  }

  #merged(parts: readonly Gathered[], fromMs: number, toMs: number): Profile {
    const lost = parts.reduce((sum, each) => sum + each.lost, 0);
    return mergeProfiles(parts, { kind: this.kind, fromMs, toMs, hertz: this.hertz, lost });
  }
}

function joined(begun: Begun | null, profile: Profile): Begun {
  const { fromMs, sum, lost } = begun ?? { fromMs: profile.fromMs, sum: new ProfileSum(), lost: 0 };
  sum.add(profile);
  return { fromMs, toMs: profile.toMs, sum, lost: lost + profile.lost };
}

/** Whether that long has passed since; also where the clock was set back meanwhile, for how far nobody knows. */
function isPast(fromMs: number, nowMs: number, ms: number): boolean {
  return nowMs - fromMs >= ms || nowMs < fromMs;
}
