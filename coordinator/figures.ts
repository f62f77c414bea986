import { Counter, Histogram } from 'prom-client';
import type { Step } from './reconcile.js';

/** What the loop counts since it started, for /metrics. */
export class Figures {
  readonly moves = new Counter({
    name: 'shoal_moves_total',
    help: 'Moves of plans by kind: created, draining, resized …',
    labelNames: ['kind'],
    registers: [],
  });
  readonly preemptions = new Counter({
    name: 'shoal_preemptions_total',
    help: 'Instances that gave way to a higher priority, ended or made smaller',
    registers: [],
  });
  readonly tickSeconds = new Histogram({
    name: 'shoal_tick_seconds',
    help: 'Duration of a turn of the loop: plan, placement and commit',
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 3],
    registers: [],
  });

  note(steps: readonly Step[]): void {
    for (const { kind, count } of steps) {
      // What found no room did not move.
      if (kind !== 'unplaced') this.moves.inc({ kind }, count);
      if (kind === 'gave-way') this.preemptions.inc();
    }
  }
}
