/**
 * Which keys of a record are not as in the one that it was made from, where whoever made it said so: a copy of ten thousand
 * entries of which a few changed need not be compared entry by entry. A short cut only. Records are never changed in place.
 */
interface Origin {
  from: WeakRef<object>;
  keys: readonly string[];
}

const origins = new WeakMap<object, Origin>();

/** `to` is `from` with other values at these keys, and nothing else. */
export function noteChangedKeys(from: object, to: object, keys: readonly string[]): void {
  origins.set(to, { from: new WeakRef(from), keys });
}

/** Null where nobody said how `to` was made, or not from `from`. */
export function changedKeys(from: object, to: object): readonly string[] | null {
  const origin = origins.get(to);
  return origin !== undefined && origin.from.deref() === from ? origin.keys : null;
}
