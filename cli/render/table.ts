import { type Paint, PLAIN } from './paint.js';
import { clean, columns, cut, pad } from './text.js';

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  align?: 'left' | 'right';
  /** Colours the padded cell. */
  paint?: (text: string, row: Row) => string;
}

const GAP = '  ';

/** Aligned columns with a heading. Cells are cleaned; lines are cut to `width` columns. */
export function renderTable<Row>(
  rows: readonly Row[],
  shape: readonly Column<Row>[],
  { width = Number.POSITIVE_INFINITY, paint = PLAIN }: { width?: number; paint?: Paint } = {},
): string[] {
  const cells = rows.map((row) => shape.map((column) => clean(column.value(row))));
  const widths = shape.map((column, at) =>
    Math.max(columns(column.title), ...cells.map((line) => columns(line[at] ?? ''))),
  );
  const line = (texts: readonly string[], painted: (text: string, at: number) => string): string => {
    let room = width;
    const parts: string[] = [];
    const end = texts.findLastIndex((text) => text !== '');
    for (const [at, column] of shape.entries()) {
      const last = at >= end;
      // The last text keeps no blanks at its end, so that lines are no longer than needed.
      const full =
        last && column.align !== 'right' ? (texts[at] ?? '') : pad(texts[at] ?? '', widths[at] ?? 0, column.align);
      const shown = cut(full, room);
      if (shown === '') break;
      parts.push(painted(shown, at));
      room -= columns(shown) + GAP.length;
      if (room <= 0) break;
    }
    return parts.join(GAP);
  };
  const heading = line(
    shape.map((column) => column.title),
    (text) => paint.bold(text),
  );
  const body = rows.map((row, index) => line(cells[index] ?? [], (text, at) => shape[at]?.paint?.(text, row) ?? text));
  return [heading, ...body];
}
