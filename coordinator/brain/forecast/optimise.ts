/** A box: each coordinate from lower to upper. */
export interface Bounds {
  lower: readonly number[];
  upper: readonly number[];
}

export interface Minimum {
  at: number[];
  value: number;
}

/** Size of the first simplex as a share of the box. */
const SIMPLEX_SHARE = 0.15;
const TOLERANCE = 1e-8;

/**
 * Minimum of `loss` in a box by the simplex of Nelder & Mead, Computer J. 7 (1965) 308, with points beyond a bound put
 * onto it, and the dimension-dependent coefficients of Gao & Han, Comput. Optim. Appl. 51 (2012) 259. A loss that is
 * not finite counts as infinitely bad. `evaluationsMax` bounds the work.
 */
export function minimise(
  loss: (at: readonly number[]) => number,
  start: readonly number[],
  { lower, upper }: Bounds,
  evaluationsMax = 400,
): Minimum {
  const n = start.length;
  const judge = (at: number[]): Minimum => {
    const value = loss(at);
    return { at, value: Number.isNaN(value) ? Number.POSITIVE_INFINITY : value };
  };
  const inside = (at: readonly number[]): number[] =>
    at.map((x, i) => Math.min(upper[i] as number, Math.max(lower[i] as number, x)));
  const first = judge(inside(start));
  if (n === 0) return first;

  let simplex = [first];
  for (let i = 0; i < n; i++) {
    const edge = SIMPLEX_SHARE * ((upper[i] as number) - (lower[i] as number));
    const at = first.at.slice();
    const x = at[i] as number;
    at[i] = x + edge <= (upper[i] as number) ? x + edge : x - edge;
    simplex.push(judge(inside(at)));
  }
  let evaluations = n + 1;
  const expansion = 1 + 2 / Math.max(2, n);
  const contraction = 0.75 - 0.5 / Math.max(2, n);
  const shrinkage = 1 - 1 / Math.max(2, n);

  while (evaluations < evaluationsMax) {
    simplex = simplex.toSorted((a, b) => a.value - b.value);
    const best = simplex[0] as Minimum;
    const worst = simplex[n] as Minimum;
    if (worst.value - best.value <= TOLERANCE * (Math.abs(best.value) + TOLERANCE) && spread(simplex) < 1e-4) break;
    const centre = best.at.map(
      (_, i) => simplex.slice(0, n).reduce((sum, each) => sum + (each.at[i] as number), 0) / n,
    );
    const along = (factor: number): Minimum =>
      judge(inside(centre.map((c, i) => c + factor * (c - (worst.at[i] as number)))));

    const reflected = along(1);
    evaluations += 1;
    let taken: Minimum | null = reflected;
    if (reflected.value < best.value) {
      const expanded = along(expansion);
      evaluations += 1;
      if (expanded.value < reflected.value) taken = expanded;
    } else if (reflected.value >= (simplex[n - 1] as Minimum).value) {
      const outside = reflected.value < worst.value;
      const contracted = along(outside ? contraction : -contraction);
      evaluations += 1;
      taken = contracted.value < Math.min(reflected.value, worst.value) ? contracted : null;
    }
    if (taken !== null) {
      simplex[n] = taken;
      continue;
    }
    simplex = simplex.map((each, i) =>
      i === 0 ? each : judge(each.at.map((x, j) => (best.at[j] as number) + shrinkage * (x - (best.at[j] as number)))),
    );
    evaluations += n;
  }
  return simplex.reduce((best, each) => (each.value < best.value ? each : best));
}

function spread(simplex: readonly Minimum[]): number {
  const [first] = simplex;
  return Math.max(...simplex.map(({ at }) => Math.max(...at.map((x, i) => Math.abs(x - (first?.at[i] ?? x))))));
}
