import type { ErrorObject } from 'ajv';
import type { Fault, Plain, Tree } from './manifest-yaml.js';
import { pointerOf } from './manifest-yaml.js';

/** What one problem was found to be, for a message: short and on one line. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'string') return `the text ${shorten(JSON.stringify(value))}`;
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value === 'boolean') return `${value}`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  const keys = Object.keys(value);
  return keys.length === 0 ? 'an empty map' : `a map of ${shorten(keys.join(', '))}`;
}

function shorten(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

/** Edits, with two neighbours exchanged as one, from `a` to `b`; Infinity above `bound` (optimal string alignment). */
export function editDistance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) > bound) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const exchange = exchanged ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(change, exchange, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  const distance = row[b.length] ?? 0;
  return distance <= bound ? distance : Number.POSITIVE_INFINITY;
}

/** `; did you mean "x"?` for the nearest known word, or nothing when none is near. */
export function didYouMean(found: string, known: string[]): string {
  let best = '';
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const word of known) {
    const bound = Math.max(1, Math.floor(word.length / 3));
    const distance = editDistance(found.toLowerCase(), word.toLowerCase(), bound);
    if (distance < bestDistance) [best, bestDistance] = [word, distance];
  }
  return best === '' ? '' : `; did you mean "${best}"?`;
}

function descriptionOf(error: ErrorObject): string {
  const schema: unknown = error.parentSchema;
  if (typeof schema === 'object' && schema !== null && 'description' in schema) return String(schema.description);
  return `that it ${error.message ?? 'is valid'}`;
}

function keysOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

/** One ajv error as a fault, or null when another error of the list already says it. */
export function explain(error: ErrorObject, tree: Tree): Fault | null {
  const params: Record<string, unknown> = error.params;
  const pointer = error.instancePath;
  const place = tree.places.get(pointer);
  const here = place?.value ?? 0;
  const keyOf = (key: string): Pick<Fault, 'offset' | 'pointer'> => {
    const child = pointerOf(pointer, key);
    return { offset: tree.places.get(child)?.key ?? here, pointer: child };
  };
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params.additionalProperty);
      const schema: unknown = error.parentSchema;
      const properties =
        typeof schema === 'object' && schema !== null && 'properties' in schema ? schema.properties : {};
      const known = keysOf(properties);
      const hint = didYouMean(key, known);
      return { ...keyOf(key), message: `expected one of ${known.join(', ')}, found the key "${key}"${hint}` };
    }
    case 'required': {
      if (error.schemaPath.includes('/oneOf/')) return null;
      const missing = String(params.missingProperty);
      return {
        offset: place?.key ?? here,
        pointer: pointerOf(pointer, missing),
        message: `expected the key "${missing}", found ${describe(error.data)}`,
      };
    }
    case 'dependencies': {
      const missing = String(params.missingProperty);
      const because = String(params.property);
      const message = `expected the key "${missing}", which "${because}" needs, found ${describe(error.data)}`;
      return { ...keyOf(because), pointer: pointerOf(pointer, missing), message };
    }
    case 'oneOf': {
      if (typeof error.data !== 'object' || error.data === null) return null; // Its type is the error that counts.
      const keys = alternativesOf(error.schema);
      const message = `expected exactly one of ${listed(keys)}, found ${foundOf(error.data, keys)}`;
      return { offset: place?.key ?? here, pointer, message };
    }
    case 'propertyNames':
      return null; // The error of the name itself precedes it.
    case 'uniqueItems': {
      const again = Math.max(Number(params.i), Number(params.j));
      const item = Array.isArray(error.data) ? (error.data as Plain[])[again] : undefined;
      const at = pointerOf(pointer, again);
      return {
        offset: tree.places.get(at)?.value ?? here,
        pointer: at,
        message: `expected ${descriptionOf(error)}, found ${describe(item)} again`,
      };
    }
    default: {
      const name = error.propertyName;
      const at = name === undefined ? { offset: here, pointer } : keyOf(name);
      return { ...at, message: `expected ${descriptionOf(error)}, found ${describe(name ?? error.data)}` };
    }
  }
}

/** The keys of which a schema's oneOf takes one each. */
function alternativesOf(branches: unknown): string[] {
  if (!Array.isArray(branches)) return [];
  return branches.flatMap((branch: { required?: string[] }) => branch.required ?? []);
}

function foundOf(data: object, keys: readonly string[]): string {
  const found = keys.filter((key) => Object.hasOwn(data, key));
  return found.length === 0 ? 'none of them' : found.join(' and ');
}

/** `a, b and c`. */
function listed(keys: readonly string[]): string {
  return `${keys.slice(0, -1).join(', ')} and ${keys.at(-1)}`;
}
