import { normalFrom, randomFrom } from '../../../../coordinator/brain/forecast/random.js';

/** What workloads do, each made from a seed; none of it is taken from a real one. */
export const KINDS = ['week', 'bursts', 'shifts', 'counts', 'trend', 'walk', 'noise', 'gaps'] as const;
export type Kind = (typeof KINDS)[number];

/** A day and a week with errors that last some steps, and what the kind adds to it; null is a gap. */
export function workload(kind: Kind, seed: number, stepSeconds: number, days: number): (number | null)[] {
  const random = randomFrom(1_000 * seed + KINDS.indexOf(kind));
  const day = 86_400 / stepSeconds;
  const phase = 2 * Math.PI * random();
  const height = 0.3 + 0.5 * random();
  let [error, level, burst, walk] = [0, 1, 0, 0];
  return Array.from({ length: Math.round(days * day) }, (_, i) => {
    const time = i / day;
    const wave = Math.sin(2 * Math.PI * time + phase) + 0.3 * Math.sin(4 * Math.PI * time + phase);
    const usual = 100 * Math.max(0.02, 1 + height * wave) * (Math.floor(time) % 7 >= 5 ? 0.6 : 1);
    error = 0.9 * error + 0.03 * normalFrom(random);
    const noisy = usual * Math.exp(error);
    if (random() < 3 / day) burst = 2 * random();
    burst *= Math.exp(-stepSeconds / 3_600);
    if (random() < 0.4 / day) level = Math.exp(0.5 * normalFrom(random));
    walk += 0.02 * Math.sqrt(stepSeconds / 300) * normalFrom(random);
    const values: Record<Kind, number | null> = {
      week: noisy,
      bursts: noisy * (1 + burst),
      shifts: noisy * level,
      counts: Math.floor(Math.max(0, usual / 80 - 0.8) * 2 * random() + 0.3 * random()),
      trend: noisy + 10 * time,
      walk: 100 * Math.exp(walk),
      noise: 100 + 10 * normalFrom(random),
      gaps: random() < 0.05 || Math.floor(4 * time) % 29 === 3 ? null : noisy,
    };
    return values[kind];
  });
}
