import type { ProfileFunction } from '../../protocol/profile.js';
import { type Shown, shownStacks } from './comparison.js';
import { FLAME_SCRIPT, FLAME_STYLE } from './flame-page.js';

interface Node {
  seconds: number;
  baseSeconds: number;
  children: Map<string, Node>;
  of: ProfileFunction;
}

/** Name, file, seconds, seconds of the base, callees, 1 for an inlined one: as the page's script wants it. */
type PageNode = [
  name: number,
  file: number,
  seconds: number,
  baseSeconds: number,
  children: PageNode[],
  isInlined: 0 | 1,
];

/** What is narrower than this share of the whole could not be seen. */
const SHARE_MIN = 0.0002;
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";

/** A page of its own, without anything from elsewhere. Names come from containers: they go in as data, never as HTML. */
export function encodeFlameGraph(shown: Shown, title: string): string {
  const root = treeOf(shown);
  const texts: string[] = [];
  const numbers = new Map<string, number>();
  const number = (text: string): number => {
    const known = numbers.get(text);
    if (known !== undefined) return known;
    numbers.set(text, texts.length);
    return texts.push(text) - 1;
  };
  const least = Math.max(root.seconds, root.baseSeconds) * SHARE_MIN;
  const pageNode = ({ of, seconds, baseSeconds, children }: Node): PageNode => [
    number(of.name),
    number(of.file),
    Math.round(seconds * 1e6) / 1e6,
    Math.round(baseSeconds * 1e6) / 1e6,
    [...children.values()].filter((each) => Math.max(each.seconds, each.baseSeconds) >= least).map(pageNode),
    of.calledAt === undefined ? 0 : 1,
  ];
  const { profile, base } = shown;
  const tree = pageNode(root);
  const data = {
    title,
    kind: profile.kind,
    compared: base !== null,
    lost: profile.lost,
    notes: profile.notes ?? [],
    texts,
    tree,
  };
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width">
<title>Flame graph</title>
<style>${FLAME_STYLE}</style>
<header><h1></h1><input type="search" placeholder="search functions" aria-label="search functions"><output></output></header>
<main role="tree"></main>
<footer></footer>
<script type="application/json" id="data">${inScript(data)}</script>
<script>${FLAME_SCRIPT}</script>
</html>
`;
}

/** JSON that ends no script element: the one character that could begin a tag or a comment is written as its code. */
function inScript(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

function treeOf(shown: Shown): Node {
  const root: Node = { seconds: 0, baseSeconds: 0, children: new Map(), of: { name: 'all', file: '' } };
  for (const { frames, seconds, baseSeconds } of shownStacks(shown)) {
    let node = root;
    node.seconds += seconds;
    node.baseSeconds += baseSeconds;
    for (const of of frames.toReversed()) {
      const key = `${of.file}\0${of.name}\0${of.calledAt !== undefined}`;
      let child = node.children.get(key);
      if (child === undefined) {
        child = { seconds: 0, baseSeconds: 0, children: new Map(), of };
        node.children.set(key, child);
      }
      child.seconds += seconds;
      child.baseSeconds += baseSeconds;
      node = child;
    }
  }
  return root;
}
