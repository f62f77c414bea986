import { toShoalError } from '../protocol/errors.js';
import type { Size } from '../protocol/link.js';

/** The part of an instance's cgroup that a resize needs. */
export interface Resizable {
  /** Ends a hold as well. */
  limit(size: Size): Promise<unknown>;
  usage(): Promise<{ memoryBytes: number }>;
  /** Has the kernel take back so much that is not needed, such as file cache; it may find less. */
  reclaim(bytes: number): Promise<void>;
  /** Slows down whoever takes more than so many bytes. */
  hold(bytes: number): Promise<void>;
}

export interface Resized {
  /** In force now. */
  size: Size;
  /** Why that is not the wanted one; null when it is. */
  refused: string | null;
}

/** An instance keeps at least so much more memory than it uses: below it the kernel would end it. */
const MEMORY_KEPT = 1.1;

/** What the instance needs at least; what it only holds is first taken back, where that could be enough. */
async function leastMemory(cgroup: Resizable, wanted: number): Promise<number> {
  const kept = async () => (await cgroup.usage()).memoryBytes * MEMORY_KEPT;
  let least = await kept();
  if (least > wanted) {
    await cgroup.reclaim(Math.ceil((least - wanted) / MEMORY_KEPT));
    least = await kept();
  }
  if (least > wanted) return least;
  // Else it could outgrow the new size before that is in force, and the kernel would end it.
  await cgroup.hold(Math.floor(wanted / MEMORY_KEPT));
  return kept();
}

/**
 * Sets a new size on a running instance and never harms it: memory does not go below what is in use, and where the
 * kernel refuses, the old size stays in force and is told as such, so that the plan goes on with what there really is.
 */
export async function resizeInPlace(cgroup: Resizable, present: Size, wanted: Size): Promise<Resized> {
  try {
    const least = wanted.memory < present.memory ? await leastMemory(cgroup, wanted.memory) : 0;
    const fits = wanted.memory >= least;
    const size = fits ? wanted : { ...wanted, memory: present.memory };
    await cgroup.limit(size);
    const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    const refused = fits ? null : `memory stays, since ${mebibytes(least)} are needed for what is in use`;
    return { size, refused };
  } catch (error) {
    const refused = toShoalError(error).message;
    try {
      await cgroup.limit(present);
    } catch (second) {
      return {
        size: present,
        refused: `${refused}; and the old size could not be set again: ${toShoalError(second).message}`,
      };
    }
    return { size: present, refused };
  }
}
