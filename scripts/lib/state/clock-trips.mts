import type { App } from 'shoal/sdk';

/**
 * Asks the handler `clock` of a component every so many ms what time it is there, and tells it with the next question what
 * came of the last one: the instance, when it asked, what it was answered, when that came. All in ms of CLOCK_MONOTONIC.
 */
export function askTheTime(app: App, component: string, everyMs: number): void {
  let last: [instance: string, sentMs: number, heardMs: number, backMs: number] | null = null;
  const ask = async () => {
    const sentMs = nowMs();
    const heardMs = (await app.call(component, 'clock', last)) as number;
    last = [app.identity.instance, sentMs, heardMs, nowMs()];
  };
  const again = () => {
    ask()
      .catch((error: Error) => console.error('nobody says what time it is:', error.message))
      .finally(() => setTimeout(again, everyMs).unref());
  };
  again();
}

export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
