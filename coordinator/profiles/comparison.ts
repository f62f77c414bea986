import { keyOf, type Profile, type ProfileFunction } from '../../protocol/profile.js';

/** A profile to be shown, alone or beside another one that it is compared with. */
export interface Shown {
  profile: Profile;
  base: Profile | null;
}

/** One stack of either, with what it came to; `base` is made as long as the profile is, so that both can be compared. */
export interface ShownStack {
  /** Leaf first. */
  frames: ProfileFunction[];
  count: number;
  seconds: number;
  baseCount: number;
  baseSeconds: number;
}

/** All stacks of both profiles, each once. */
export function shownStacks({ profile, base }: Shown): ShownStack[] {
  const stacks = new Map<string, ShownStack>();
  const take = (
    { functions, stacks: own }: Profile,
    add: (into: ShownStack, count: number, seconds: number) => void,
  ) => {
    for (const { frames: places, count, seconds } of own) {
      const frames = places.map((place) => functions[place] as ProfileFunction);
      const key = frames.map(keyOf).join('\0\0');
      let stack = stacks.get(key);
      if (stack === undefined) {
        stack = { frames, count: 0, seconds: 0, baseCount: 0, baseSeconds: 0 };
        stacks.set(key, stack);
      }
      add(stack, count, seconds);
    }
  };
  take(profile, (into, count, seconds) => {
    into.count += count;
    into.seconds += seconds;
  });
  if (base === null) return [...stacks.values()];
  const scale = (profile.toMs - profile.fromMs) / Math.max(1, base.toMs - base.fromMs);
  take(base, (into, count, seconds) => {
    into.baseCount += count * scale;
    into.baseSeconds += seconds * scale;
  });
  return [...stacks.values()];
}
