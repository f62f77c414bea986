import type { CopyReport } from '../../protocol/state-copies.js';

/** Says what is new of the copies of a host, report by report, on one connection. */
export class CopyNews {
  readonly #said = new Map<string, { report: CopyReport; text: string }>();

  /** Empty when there is nothing new. How far a log goes is no news by itself: it is asked for together with an epoch. */
  news(reports: Readonly<Record<string, CopyReport>>): { copies?: Record<string, CopyReport | null> } {
    const copies: Record<string, CopyReport | null> = {};
    for (const [name, report] of Object.entries(reports)) {
      const said = this.#said.get(name);
      if (said?.report === report) continue;
      const text = JSON.stringify({ ...report, last: 0 });
      this.#said.set(name, { report, text });
      if (said?.text === text) continue;
      copies[name] = report;
    }
    for (const name of this.#said.keys()) {
      if (Object.hasOwn(reports, name)) continue;
      this.#said.delete(name);
      copies[name] = null;
    }
    return Object.keys(copies).length === 0 ? {} : { copies };
  }
}
