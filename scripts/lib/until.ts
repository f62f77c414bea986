const WAIT_MS_MAX = 60_000;
const LOOK_MS = 5;

/**
 * Waits until the condition holds, looking every few milliseconds. Tests and rigs wait by it: a wait without a bound
 * would keep the whole run. Throws after `ms` with the condition's own text.
 */
export async function until(condition: () => boolean | Promise<boolean>, ms = WAIT_MS_MAX): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain until ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Tries again every so often until it does not throw; what it answers then. Throws after `ms`, with the last reason. */
export async function retry<T>(what: string, ms: number, attempt: () => Promise<T>, everyMs = LOOK_MS): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw new Error(`not ${what} within ${ms} ms: ${(error as Error).message}`);
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  }
}

/** What the promise answers. Throws after `ms`, naming what was waited for. */
export async function within<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
