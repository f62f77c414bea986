import { stripVTControlCharacters } from 'node:util';

/** Controls (C0, DEL, C1), line separators and the marks that reorder text: each could make a terminal show a lie. */
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Text from elsewhere as one line that is safe to print: no escape sequences, no control characters. Tabs become spaces. */
export function clean(text: string): string {
  return stripVTControlCharacters(text).replaceAll('\t', '    ').replace(UNSAFE, '');
}

/** Safe to print, lines kept. */
export function cleanLines(text: string): string {
  return text.split('\n').map(clean).join('\n');
}

/** JSON that a terminal cannot be attacked with: what JSON.stringify leaves raw (DEL, C1, reordering marks) is escaped. */
export function safeJson(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replace(UNSAFE, (found) =>
    found === '\n' ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Columns of a clean text, counting one for each code point: names here are ASCII. */
export function columns(text: string): number {
  return [...text].length;
}

/** Cut to `width` columns, the last being an ellipsis if something was cut. */
export function cut(text: string, width: number): string {
  const points = [...text];
  if (points.length <= width) return text;
  return width <= 0 ? '' : `${points.slice(0, width - 1).join('')}…`;
}

export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const blank = ' '.repeat(Math.max(0, width - columns(text)));
  return align === 'left' ? text + blank : blank + text;
}

/** Lines of at most `width` columns, broken at blanks; a longer word stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && columns(line) + 1 + columns(word) > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
