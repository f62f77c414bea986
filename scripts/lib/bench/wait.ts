/** Tries again until it does not throw. */
export async function until(what: string, ms: number, attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw new Error(`waited in vain until ${what}: ${(error as Error).message}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
