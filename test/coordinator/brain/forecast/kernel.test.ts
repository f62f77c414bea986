import fc from 'fast-check';
import t from 'tap';
import { type Form, type State, step } from '../../../../coordinator/brain/forecast/holt-winters.js';
import {
  createKernel,
  holdKernel,
  type Kernel,
  runKernel,
  stateOf,
} from '../../../../coordinator/brain/forecast/kernel.js';

const share = fc.double({ min: 0, max: 1, noNaN: true });
const size = fc.double({ min: 0.5, max: 20, noNaN: true });
const model = fc.record({
  trend: fc.constantFrom('none' as const, 'additive' as const, 'damped' as const),
  seasonal: fc.constantFrom('additive' as const, 'multiplicative' as const),
  seasons: fc.constantFrom([], [3], [2, 6]),
  alpha: share,
  beta: share,
  gammas: fc.array(fc.double({ min: 0, max: 0.5, noNaN: true }), { minLength: 2, maxLength: 2 }),
  phi: fc.double({ min: 0.8, max: 0.98, noNaN: true }),
  rho: fc.double({ min: -0.9, max: 0.9, noNaN: true }),
  offsets: fc.array(fc.double({ min: 0.5, max: 1.5, noNaN: true }), { minLength: 8, maxLength: 8 }),
});
type Drawn = typeof model extends fc.Arbitrary<infer T> ? T : never;

function start({ seasons, offsets, trend }: Drawn): State {
  const all = seasons.map((length, i) =>
    offsets
      .slice(3 * i, 3 * i + length)
      .concat(offsets)
      .slice(0, length),
  );
  return { level: 10, trend: trend === 'none' ? 0 : 0.1, seasons: all, phases: seasons.map(() => 0), error: 0 };
}

function near(a: number, b: number): boolean {
  return Object.is(a, b) || Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
}

function sameState(kernel: Kernel, state: State): boolean {
  const own = stateOf(kernel, state.seasons.length, state.phases);
  const flat = (each: State) => [each.level, each.trend, each.error, ...each.seasons.flat()];
  const theirs = flat(state);
  return flat(own).every((value, i) => near(value, theirs[i] as number));
}

t.test('the kernel is the recursion of holt-winters.ts, gaps included', async () => {
  fc.assert(
    fc.property(model, fc.array(fc.option(size, { freq: 5 }), { maxLength: 40 }), (drawn, values) => {
      const form: Form = { trend: drawn.trend, seasonal: drawn.seasonal, seasons: drawn.seasons, correction: true };
      const parameters = { ...drawn, gammas: drawn.gammas.slice(0, drawn.seasons.length) };
      const state = start(drawn);
      const kernel = createKernel(form, parameters, state);
      const errors = new Float64Array(values.length);
      runKernel(
        kernel,
        Float64Array.from(values, (value) => value ?? Number.NaN),
        errors,
      );
      let before = 0;
      const same = values.every((value, i) => {
        const corrected = step(form, parameters, state, value);
        const error = errors[i] as number;
        const own = error - parameters.rho * before;
        before = Number.isNaN(error) ? 0 : error;
        return near(own, corrected);
      });
      return same && sameState(kernel, state);
    }),
    { numRuns: 300 },
  );
});

t.test('many steps without a value at once are as many one by one', async () => {
  fc.assert(
    fc.property(model, fc.integer({ min: 0, max: 500 }), (drawn, steps) => {
      const form: Form = { trend: drawn.trend, seasonal: drawn.seasonal, seasons: drawn.seasons };
      const parameters = { ...drawn, gammas: drawn.gammas.slice(0, drawn.seasons.length) };
      const state = start(drawn);
      const kernel = createKernel(form, parameters, state);
      holdKernel(kernel, steps);
      for (let i = 0; i < steps; i++) step(form, parameters, state, null);
      return sameState(kernel, state);
    }),
    { numRuns: 200 },
  );
});
