/**
 * The key as the engine keeps names of properties, one for all that are equal: maps and records that are asked for it
 * compare no characters. For keys that are asked for each second.
 */
export function interned(key: string): string {
  return Object.keys({ [key]: true })[0] as string;
}
