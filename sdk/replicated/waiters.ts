/** Those who wait until something holds, which is looked at when they are woken. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  wake(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Whether it holds; false after `timeoutMs`, when there is such a bound, or once the signal is aborted. */
  async until(
    holds: () => boolean,
    { timeoutMs, signal }: { timeoutMs?: number; signal: AbortSignal },
  ): Promise<boolean> {
    if (holds()) return true;
    if (signal.aborted) return false;
    return new Promise((resolve) => {
      const end = (held: boolean) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        this.#waiting.delete(look);
        resolve(held);
      };
      const look = () => {
        if (holds()) end(true);
      };
      const giveUp = () => end(false);
      const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(look);
    });
  }
}
