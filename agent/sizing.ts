import type { Size } from '../protocol/link.js';
import { type Resizable, type Resized, resizeInPlace } from './resize.js';

/** Until it is ready a process gets a core: with a fifth of one it would take five times as long to load itself. */
export function startingSize(size: Size): Size {
  return { ...size, cpu: Math.max(size.cpu, 1) };
}

/**
 * The limits of one instance, changed one after the other: a change that comes while another is under way would else be
 * undone by the rest of that. While it starts, what is set leaves it a core.
 */
export class Sizing {
  #changes: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly cgroup: Resizable,
    private readonly isStarting: () => boolean,
  ) {}

  /** Puts the size that it has by then in force. Rejects when the kernel refuses. */
  set(size: () => Size): Promise<void> {
    return this.#inTurn(async () => {
      await this.#limit(size());
    });
  }

  /** From the size that it has by then; `keep` is given what is in force afterwards, before any other change. */
  resize(present: () => Size, wanted: Size, keep: (resized: Resized) => Promise<void>): Promise<void> {
    const { usage, reclaim, hold } = this.cgroup;
    const limit = (size: Size) => this.#limit(size);
    return this.#inTurn(async () => keep(await resizeInPlace({ limit, usage, reclaim, hold }, present(), wanted)));
  }

  #limit(size: Size): Promise<unknown> {
    return this.cgroup.limit(this.isStarting() ? startingSize(size) : size);
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(change);
    this.#changes = done.catch(() => undefined);
    return done;
  }
}
