/** Tries again until it does not throw; what it answers then. */
export async function until<T>(what: string, ms: number, attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw new Error(`waited in vain until ${what}: ${(error as Error).message}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
