import type { Document, Node, Pair } from 'yaml';
import { type CST, isAlias, isMap, isScalar, isSeq, LineCounter, Parser, parseDocument } from 'yaml';
import { LIMITS } from './limits.js';

/** Bounds after aliases are expanded, so that a small text cannot become a huge tree or an endless one. */
const NODES_MAX = 50_000;
const DEPTH_MAX = 24;
/** To find what an alias stands for takes a walk over the whole document. */
const ALIASES_MAX = 200;

export type Plain = null | string | number | boolean | Plain[] | { [key: string]: Plain };
/** Offsets into the text. */
export interface Place {
  key?: number;
  value: number;
  /** A scalar as it is written, without quotes; `1.10` stays `1.10`. */
  source?: string;
}
export interface Fault {
  offset: number;
  /** JSON pointer. */
  pointer: string;
  message: string;
}
export interface Tree {
  plain: Plain;
  /** By JSON pointer. */
  places: Map<string, Place>;
  faults: Fault[];
  lines: LineCounter;
}

export function pointerOf(parent: string, key: string | number): string {
  return `${parent}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** Reads one YAML 1.2 document into plain data with the place of every part. Never throws. */
export function readTree(text: string): Tree {
  const lines = new LineCounter();
  const tree: Tree = { plain: null, places: new Map(), faults: [], lines };
  const bytes = Buffer.byteLength(text);
  if (bytes > LIMITS.manifestBytesMax) {
    const message = `expected at most ${LIMITS.manifestBytesMax} bytes, found ${bytes}`;
    tree.faults.push({ offset: 0, pointer: '', message });
    return tree;
  }
  const deep = findTooDeep(text);
  if (deep !== null) {
    // Told before the rest is read: to compose a deep tree recurses, and can exhaust the stack of the process.
    lines.addNewLine(0);
    for (const match of text.matchAll(/\n/g)) lines.addNewLine(match.index + 1);
    const message = `expected nesting of at most ${DEPTH_MAX} levels, found more`;
    tree.faults.push({ offset: deep, pointer: '', message });
    return tree;
  }
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    resolveKnownTags: false,
    logLevel: 'error',
  });
  for (const fault of [...document.errors, ...document.warnings]) {
    // Told by Walk, which knows where in the document the key is.
    if (fault.code === 'DUPLICATE_KEY') continue;
    tree.faults.push({ offset: fault.pos[0], pointer: '', message: explainSyntax(fault.code, fault.message) });
  }
  if (tree.faults.length > 0) return tree;
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    tree.faults.push({ offset: 0, pointer: '', message: 'expected a map of app and components, found nothing' });
    return tree;
  }
  new Walk(document, tree).start();
  return tree;
}

function explainSyntax(code: string, message: string): string {
  if (code === 'MULTIPLE_DOCS') return 'expected one YAML document, found a second one';
  return `is not valid YAML: ${message}`;
}

/** Offset of the first token nested too deeply, or null. The token tree is made and walked without recursion. */
function findTooDeep(text: string): number | null {
  const open: { token: CST.Token; depth: number }[] = [];
  for (const token of new Parser().parse(text)) open.push({ token, depth: 0 });
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (depth > DEPTH_MAX) return token.offset;
    if (token.type === 'document' && token.value) open.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    for (const item of token.items) {
      for (const part of [item.key, item.value]) if (part) open.push({ token: part, depth: depth + 1 });
    }
  }
  return null;
}

/** Thrown inside Walk only, to leave the recursion at the first bound that is passed. */
class TooLarge extends Error {}

class Walk {
  #nodes = 0;
  #aliases = 0;
  constructor(
    private readonly document: Document.Parsed,
    private readonly tree: Tree,
  ) {}

  start(): void {
    try {
      this.tree.plain = this.#visit(this.document.contents, '', 0, undefined);
    } catch (error) {
      if (!(error instanceof TooLarge)) throw error;
    }
  }

  #fault(offset: number, pointer: string, message: string): void {
    this.tree.faults.push({ offset, pointer, message });
  }

  #visit(node: Node | null, pointer: string, depth: number, key: number | undefined): Plain {
    const offset = node?.range?.[0] ?? key ?? 0;
    const place: Place = { value: offset };
    if (key !== undefined) place.key = key;
    this.tree.places.set(pointer, place);
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX || depth > DEPTH_MAX) {
      const what = depth > DEPTH_MAX ? `nesting of at most ${DEPTH_MAX} levels` : `at most ${NODES_MAX} values`;
      this.#fault(offset, pointer, `expected ${what} with aliases expanded, found more`);
      throw new TooLarge();
    }
    if (isAlias(node)) {
      this.#aliases += 1;
      if (this.#aliases > ALIASES_MAX) {
        this.#fault(offset, pointer, `expected at most ${ALIASES_MAX} aliases once expanded, found more`);
        throw new TooLarge();
      }
      const target = node.resolve(this.document);
      if (target === undefined) {
        this.#fault(offset, pointer, `expected an anchor "&${node.source}" before its alias, found none`);
        return null;
      }
      return this.#visit(target, pointer, depth + 1, key ?? offset);
    }
    if (isMap(node)) return this.#visitMap(node.items, pointer, depth);
    if (isSeq(node)) {
      return node.items.map((item, i) => this.#visit(item as Node | null, pointerOf(pointer, i), depth + 1, undefined));
    }
    if (!isScalar(node)) return null;
    if (node.source !== undefined) place.source = node.source;
    const value = node.value;
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      return value;
    }
    return node.source ?? String(value);
  }

  #visitMap(items: Pair[], pointer: string, depth: number): Plain {
    const entries = new Map<string, Plain>();
    for (const { key, value } of items) {
      const keyNode = key as Node | null;
      const keyAt = keyNode?.range?.[0] ?? 0;
      if (!isScalar(keyNode) || keyNode.value === null || typeof keyNode.value === 'object') {
        this.#fault(keyAt, pointer, 'expected plain text as key, found something else');
        continue;
      }
      const name = String(keyNode.value);
      if (entries.has(name)) {
        const found = `found ${JSON.stringify(name)} a second time in the same map`;
        this.#fault(keyAt, pointerOf(pointer, name), `expected each key once, ${found}`);
        continue;
      }
      entries.set(name, this.#visit(value as Node | null, pointerOf(pointer, name), depth + 1, keyAt));
    }
    // fromEntries defines own properties, so that a key such as __proto__ stays a harmless key.
    return Object.fromEntries(entries);
  }
}
