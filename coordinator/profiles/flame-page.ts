/** What the page of a flame graph looks like and does. A click on a function gives it the whole width; on its caller, back. */
export const FLAME_STYLE = `
body { margin: 0; font: 13px/1.3 system-ui, sans-serif; color: #222; background: #fff; }
header { position: sticky; top: 0; z-index: 1; display: flex; gap: 1em; align-items: center; padding: .5em 1em; background: #fff; border-bottom: 1px solid #ddd; }
h1 { flex: 1; margin: 0; font-size: 15px; font-weight: 600; }
main { position: relative; margin: 0 1em; }
main button { position: absolute; height: 18px; padding: 0 3px; border: 1px solid #fff; border-radius: 2px; overflow: hidden; font: 12px/16px ui-monospace, monospace; text-align: left; text-overflow: ellipsis; white-space: nowrap; color: #222; cursor: pointer; }
main button.found { background: #b04ad8 !important; color: #fff; }
main button.caller { opacity: .55; }
main button:focus-visible { outline: 2px solid #222; }
footer { padding: .5em 1em; min-height: 3em; }
`;

export const FLAME_SCRIPT = `
'use strict';
const { title, kind, compared, lost, notes, texts, tree } = JSON.parse(document.getElementById('data').textContent);
const ROW = 19;
const main = document.querySelector('main');
const search = document.querySelector('input');
const footer = document.querySelector('footer');
document.title = title;
document.querySelector('h1').textContent = title;
const width = ([, , seconds, base]) => compared ? Math.max(seconds, base) : seconds;
const nodeOf = (from, parent) => {
  const node = { name: texts[from[0]], file: texts[from[1]], seconds: from[2], base: from[3], width: width(from), inlined: from[5] === 1, parent };
  node.children = from[4].map((each) => nodeOf(each, node)).sort((a, b) => a.name < b.name ? -1 : 1);
  const sum = node.children.reduce((total, each) => total + each.width, 0);
  node.width = Math.max(node.width, sum);
  return node;
};
const root = nodeOf(tree, null);
let focus = root;
const time = (seconds) => seconds >= 1 ? seconds.toFixed(2) + ' s' : (seconds * 1000).toFixed(1) + ' ms';
const share = (seconds, all) => all > 0 ? (100 * seconds / all).toFixed(2) + ' %' : '-';
const words = (node) => {
  const now = time(node.seconds) + ' (' + share(node.seconds, root.seconds) + ')';
  const before = compared ? ', before ' + time(node.base) + ' (' + share(node.base, root.base) + ')' : '';
  const place = node.file && node.file !== node.name ? '  [' + node.file + (node.inlined ? ', inlined' : '') + ']' : '';
  return node.name + place + ': ' + now + before;
};
const hue = (text) => { let sum = 0; for (const each of text) sum = (sum * 31 + each.codePointAt(0)) % 997; return sum; };
const colour = (node) => {
  if (compared) {
    const change = (node.seconds / (root.seconds || 1)) - (node.base / (root.base || 1));
    const strength = Math.min(1, Math.abs(change) * 8);
    return 'hsl(' + (change > 0 ? 4 : 212) + ' 80% ' + (94 - 38 * strength) + '%)';
  }
  if (node.file === '[kernel]') return 'hsl(24 85% ' + (68 + hue(node.name) % 10) + '%)';
  if (node.file === '[jit]') return 'hsl(120 45% ' + (68 + hue(node.name) % 12) + '%)';
  return 'hsl(' + (38 + hue(node.file) % 20) + ' 85% ' + (66 + hue(node.name) % 14) + '%)';
};
const place = (node, left, right, depth, isCaller) => {
  if (right - left < 0.0005) return depth;
  const box = document.createElement('button');
  box.style.left = 100 * left + '%';
  box.style.width = 100 * (right - left) + '%';
  box.style.top = depth * ROW + 'px';
  box.style.background = colour(node);
  box.textContent = box.title = right - left > 0.02 ? node.name : '';
  box.title = words(node);
  if (isCaller) box.classList.add('caller');
  if (search.value && node.name.toLowerCase().includes(search.value.toLowerCase())) box.classList.add('found');
  box.onclick = () => { focus = node; draw(); };
  box.onmouseenter = box.onfocus = () => { footer.textContent = words(node); };
  main.append(box);
  if (isCaller) return depth;
  let deepest = depth;
  let at = left;
  for (const child of node.children) {
    const end = at + (right - left) * child.width / node.width;
    deepest = Math.max(deepest, place(child, at, end, depth + 1, false));
    at = end;
  }
  return deepest;
};
const found = (node) => search.value && node.name.toLowerCase().includes(search.value.toLowerCase())
  ? node.seconds : node.children.reduce((sum, each) => sum + found(each), 0);
const draw = () => {
  main.replaceChildren();
  const callers = [];
  for (let node = focus.parent; node; node = node.parent) callers.unshift(node);
  callers.forEach((node, depth) => place(node, 0, 1, depth, true));
  const deepest = place(focus, 0, 1, callers.length, false);
  main.style.height = (deepest + 1) * ROW + 'px';
  footer.textContent = words(focus) + (lost > 0 ? '; ' + lost + ' samples were lost' : '') + notes.map((note) => '; ' + note).join('');
  document.querySelector('output').textContent = search.value ? share(found(root), root.seconds) + ' found' : '';
};
search.oninput = draw;
draw();
`;
