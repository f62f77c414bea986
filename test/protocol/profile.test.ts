import fc from 'fast-check';
import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { mergeProfiles, type Profile, ProfileSum, REST, readProfile } from '../../protocol/profile.js';

const HEAD = { kind: 'cpu', fromMs: 0, toMs: 1_000, hertz: 99, lost: 0 } as const;

/** A profile of stacks written as `leaf < caller: count`. */
function profile(...lines: string[]): Profile {
  const sum = new ProfileSum();
  for (const line of lines) {
    const [stack = '', count = '1'] = line.split(': ');
    const functions = stack.split(' < ').map((name) => ({ name, file: 'program' }));
    sum.add({
      functions,
      stacks: [{ frames: functions.map((_, place) => place), count: Number(count), seconds: Number(count) / 100 }],
    });
  }
  return sum.profile(HEAD);
}

const written = ({ functions, stacks }: Profile) =>
  stacks.map(({ frames, count }) => `${frames.map((each) => functions[each]?.name).join(' < ')}: ${count}`).sort();

t.test('the same functions are the same stack, whatever their numbers are', async (t) => {
  const sum = mergeProfiles([profile('a < b: 2', 'c: 1'), profile('c: 4', 'a < b: 3', 'b < a: 1')], HEAD);
  t.same(written(sum), ['a < b: 5', 'b < a: 1', 'c: 5']);
});

t.test('what is kept and sent is bounded, and nothing is left out of the sum', async (t) => {
  const lines = Array.from({ length: 50 }, (_, i) => `f${i} < main: ${i + 1}`);
  const sum = new ProfileSum();
  sum.add(profile(...lines));
  const small = sum.profile(HEAD, 10);
  t.equal(small.stacks.length, 11);
  t.ok(written(small).includes('f49 < main: 50'), 'the heaviest stay');
  t.ok(small.functions.some(({ name }) => name === REST.name));
  t.equal(small.functions.length, 12, 'functions that occur no more are gone');
  t.equal(
    small.stacks.reduce((total, { count }) => total + count, 0),
    (50 * 51) / 2,
  );
  const long = 'x'.repeat(LIMITS.profileNameLengthMax);
  const wide = new ProfileSum();
  for (let i = 0; i < 4_000; i += 1) wide.add(profile(`${i}${long.slice(5)}`));
  const bytes = JSON.stringify(wide.profile(HEAD)).length;
  t.ok(bytes < LIMITS.profileBytesMax, `${bytes} bytes`);
});

t.test('notes of the parts are those of the sum, each once and no more than some', async (t) => {
  const part = (...notes: string[]) => ({ ...profile('a: 1'), notes });
  t.same(mergeProfiles([part('x'), part('y', 'x'), profile('b: 1')], HEAD).notes, ['x', 'y']);
  t.notOk('notes' in mergeProfiles([profile('a: 1')], HEAD));
  const many = mergeProfiles([part(...Array.from({ length: 100 }, (_, i) => `note ${i}`))], HEAD);
  t.equal(many.notes?.length, LIMITS.profileNotesMax);
  t.same(readProfile(structuredClone(many)), many);
  t.throws(() => readProfile({ ...many, notes: [...(many.notes ?? []), 'one more'] }), { code: 'SHOAL_E_FRAME' });
  t.throws(() => readProfile({ ...many, notes: [7] }), { code: 'SHOAL_E_FRAME' });
});

t.test('counts add up whatever comes together', async () => {
  const stack = fc.record({
    frames: fc.array(fc.nat(4), { maxLength: 6 }),
    count: fc.nat(100),
    seconds: fc.constant(1),
  });
  const functions = Array.from({ length: 5 }, (_, i) => ({ name: `f${i % 4}`, file: 'p' }));
  fc.assert(
    fc.property(fc.array(fc.array(stack, { maxLength: 8 }), { maxLength: 4 }), (groups) => {
      const sum = mergeProfiles(
        groups.map((stacks) => ({ functions, stacks })),
        HEAD,
      );
      const total = (stacks: readonly { count: number }[]) => stacks.reduce((all, { count }) => all + count, 0);
      return total(sum.stacks) === total(groups.flat()) && written(readProfile(sum)).length === sum.stacks.length;
    }),
  );
});

t.test('a profile from elsewhere is looked at in every part', async (t) => {
  const good = profile('a < b: 2');
  t.same(readProfile(JSON.parse(JSON.stringify({ ...good, more: 1 }))), good);
  const bad: unknown[] = [
    null,
    7,
    { ...good, kind: 'gpu' },
    { ...good, functions: 'a' },
    { ...good, functions: [{ name: 1, file: 'x' }] },
    { ...good, functions: [{ name: 'x'.repeat(LIMITS.profileNameLengthMax + 1), file: 'x' }] },
    { ...good, functions: Array.from({ length: LIMITS.profileFunctionsMax + 1 }, () => ({ name: 'a', file: '' })) },
    { ...good, stacks: [{ frames: [2], count: 1, seconds: 1 }] },
    { ...good, stacks: [{ frames: [-1], count: 1, seconds: 1 }] },
    { ...good, stacks: [{ frames: [0.5], count: 1, seconds: 1 }] },
    { ...good, stacks: [{ frames: Array(LIMITS.profileFramesMax + 1).fill(0), count: 1, seconds: 1 }] },
    { ...good, stacks: [{ frames: [0], count: -1, seconds: 1 }] },
    { ...good, stacks: [{ frames: [0], count: 1, seconds: Number.NaN }] },
    { ...good, fromMs: '0' },
    { ...good, hertz: Number.POSITIVE_INFINITY },
  ];
  for (const each of bad) t.throws(() => readProfile(each), { code: 'SHOAL_E_FRAME' });
});
