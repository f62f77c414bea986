import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { createSeriesReader } from '../../cli/offline/series-parse.js';
import { startCli } from './run-cli.js';

function parse(text: string) {
  const reader = createSeriesReader();
  for (const line of text.split('\n')) if (!reader.line(line)) break;
  return reader.end();
}

const shoal = (words: string[], input = '') => startCli(['forecast', ...words], { input }).ended;

/** Hours of three weeks, as rows. */
const rows = Array.from({ length: 504 }, (_, i) => `${3_600 * i},${100 + 50 * Math.sin((2 * Math.PI * i) / 24)}`);

t.test('rows of time and value: header, gaps, dates, jitter', async (t) => {
  t.strictSame(parse('time,value\n10,1\n20,2\n40,4\n'), {
    ok: true,
    series: [
      { id: 'series', values: [1, 2, null, 4], clock: { startSeconds: 10, stepSeconds: 10, timesIn: 'seconds' } },
    ],
  });
  t.match(parse('2026-01-01 00:00,1\n2026-01-01T01:00:00Z,\n2026-01-01T03:00:00+01:00,3'), {
    series: [{ values: [1, null, 3], clock: { stepSeconds: 3_600, timesIn: 'dates' } }],
  });
  t.match(parse('0,1\n10,2\n20.4,3\n30,4'), { series: [{ values: [1, 2, 3, 4] }] });
});

t.test('months are steps though they differ in length, and what comes next follows on the last row', async (t) => {
  const month = (i: number) => `${2020 + Math.floor(i / 12)}-${String((i % 12) + 1).padStart(2, '0')}-01`;
  const text = Array.from({ length: 40 }, (_, i) => (i === 7 ? '' : `${month(i)},${i}\n`)).join('');
  t.match(parse(text), { series: [{ values: { length: 40, 7: null }, clock: { stepMonths: 1 } }] });
  const { out } = await shoal(['--file', '-', '--horizon', '2', '--json'], text);
  const points = [{ time: '2023-05-01T00:00:00.000Z' }, { time: '2023-06-01T00:00:00.000Z' }];
  t.match(JSON.parse(out), { series: [{ points }] });
  t.match(parse('0,1\n101,2\n200,3\n300,4\n400,5'), { series: [{ clock: { startSeconds: 0, stepSeconds: 100 } }] });
  t.match(parse('0,1\n101,2\n201,3\n301,4'), { series: [{ clock: { startSeconds: 1, stepSeconds: 100 } }] });
});

t.test('one series a row: header, quotes, gaps, empty cells at the end', async (t) => {
  t.strictSame(parse('"id","V1","V2"\n"H1",1,NA,3,,\n\nH2,4,5\n'), {
    ok: true,
    series: [
      { id: 'H1', line: 2, values: [1, null, 3] },
      { id: 'H2', line: 4, values: [4, 5] },
    ],
  });
});

t.test('other habits: milliseconds, any order, rows said twice, one value a row, other separators', async (t) => {
  t.match(parse('1600000060000,2\n1600000000000,1\n1600000120000,3\n1600000060000,2'), {
    series: [{ values: [1, 2, 3], clock: { startSeconds: 1.6e9, stepSeconds: 60, timesIn: 'milliseconds' } }],
  });
  t.strictSame(parse('load\n5\n\nNA\n-7.5e1\n'), { ok: true, series: [{ id: 'series', values: [5, null, -75] }] });
  t.match(parse('time;value\r\n0;1\r\n60;\r\n120;3'), { series: [{ values: [1, null, 3] }] });
  t.match(parse('a\t1\t2\nb\t3\t4'), { series: [{ id: 'a', values: [1, 2] }, { id: 'b' }] });
});

t.test(
  'what other tools write: comments, commas within quotes and at the end, smaller units of time, ends of months',
  async (t) => {
    t.match(parse('# made by hand\n"time","value"\n"0","1",\n60,2,\n120,,\n180,4,'), {
      series: [{ values: [1, 2, null, 4], clock: { stepSeconds: 60 } }],
    });
    t.match(parse('"one, ""so"" called",1,2\ntwo,3,4'), { series: [{ id: 'one, "so" called' }, { id: 'two' }] });
    for (const [digits, timesIn] of [
      ['000000', 'microseconds'],
      ['000000000', 'nanoseconds'],
    ]) {
      const text = [0, 60, 120, 180].map((at) => `${1_600_000_000 + at}${digits},${at}\n`).join('');
      t.match(parse(text), { series: [{ clock: { startSeconds: 1.6e9, stepSeconds: 60, timesIn } }] });
      const { out } = await shoal(['--file', '-', '--horizon', '1', '--json'], text);
      t.match(out, `"time": 1600000240${digits},`);
    }
    t.match(parse('2020-11,1\n2020-12,2\n2021-01,3'), { series: [{ clock: { stepMonths: 1 } }] });
    const nanoseconds = [0, 60, 120, 180].map((at) => `${1_600_000_000 + at}000000000,${at}\n`).join('');
    const later = await shoal(['--file', '-', '--horizon', '1', '--json'], nanoseconds);
    t.match(later.out, '"time": 1600000240000000000,');
    const ends = '2021-01-31,1\n2021-02-28,2\n2021-03-31,3\n2021-05-31,5\n';
    t.match(parse(ends), { series: [{ values: [1, 2, 3, null, 5], clock: { stepMonths: 1, atMonthEnd: true } }] });
    const { out } = await shoal(['--file', '-', '--horizon', '9', '--json'], ends);
    const points = ['06-30', '07-31', '08-31', '09-30', '10-31', '11-30', '12-31'].map((day) => ({
      time: `2021-${day}T00:00:00.000Z`,
    }));
    t.match(JSON.parse(out), { series: [{ points: [...points, {}, { time: '2022-02-28T00:00:00.000Z' }] }] });
  },
);

t.test('times that all waver have their median as step', async (t) => {
  const rows = Array.from({ length: 40 }, (_, i) => `${60 * i + 2 * Math.sin(3 * i)},${i}`);
  const parsed = parse(rows.join('\n'));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed));
  const [series] = parsed.series;
  t.equal(series?.values.length, 40);
  t.ok(Math.abs((series?.clock?.stepSeconds ?? 0) - 60) < 3);
});

t.test('bad rows are named with their line and the remedy', async (t) => {
  const faults: [text: string, line: number, path: string, message: RegExp][] = [
    ['time,value\n1,2\n2,x', 3, 'value', /"x" is no number; leave the field empty/],
    ['1,2\nfoo,3', 2, 'time', /"foo" is no time; expected seconds or a date/],
    ['1,2\n2,2\n1,3', 3, 'time', /is that of line 1 with another value; one row for each time/],
    ['timestamp,cpu,memory\n1,2,3\n', 2, 'row', /has 3 fields; expected time and value: leave out/],
    ['5\n6\nx', 3, 'value', /"x" is no number; write NA/],
    ['5\n6,7', 2, 'row', /has 2 fields; expected 1/],
    ['1,2\n2,3,4', 2, 'row', /has 3 fields; expected 2/],
    ['0,1\n10,1\n20,1\n25,1', 4, 'time', /0.5 steps of 10 s after the row before/],
    ['0,1\n1,1\n9e9,1', 3, 'time', /a gap of 8999999999 steps/],
    ['a,1,2\nb,1,oops', 2, 'value 2', /"oops" is no number/],
    ['a,1,2\n,1,2', 2, 'id', /is empty/],
    ['a,1,2\na,1,2', 2, 'id', /"a" is that of line 1 too/],
    ['5\n6,7,8', 2, 'row', /has 3 fields; expected 1/],
    ['1,2\n3', 2, 'row', /has 1 field; expected 2/],
    ['0;1\n60;1,5', 2, 'value', /"1,5" has a comma in the number; write it as 1234.5/],
    ['0,1\n60,"1,500"', 2, 'value', /"1,500" has a comma in the number/],
    ['0,1\r60,2\r120,3', 1, 'row', /has a carriage return in the middle; save the file/],
    ['\uFFFDt\0v\0', 1, 'row', /is no text in UTF-8/],
    ['', 1, 'file', /has no values/],
    ['time,value\n', 2, 'file', /has no values/],
  ];
  for (const [text, line, path, message] of faults)
    t.match(parse(text), { ok: false, faults: [{ line, path, message }] });
});

t.test('any text is read or blamed, never thrown over', async () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('1', 'a', ',', '\n', '.', '-', '"', 'e', '#', '\r') }), (text) => {
      const parsed = parse(text);
      return parsed.ok ? parsed.series.length > 0 : parsed.faults.every(({ line }) => line >= 1);
    }),
  );
});

t.test('a file is forecast without a coordinator, as a table and as JSON', async (t) => {
  const file = join(t.testdir(), 'hours.csv');
  await writeFile(file, `time,value\n${rows.join('\n')}\n`);
  const table = await shoal(['--file', file, '--horizon', '3']);
  t.match(table, {
    code: 0,
    out: /combination of \d+, seasons? 24[\s\S]*TIME +FORECAST +80 % FROM +TO +95 % FROM +TO\n/,
  });
  t.match(table.out, /\n1814400 +1\d\d/);
  const json = await shoal(
    ['--file', '-', '--horizon', '24', '--season', '24', '--level', '90', '--json'],
    rows.join('\n'),
  );
  const { series } = JSON.parse(json.out);
  t.match(series, [{ id: 'series', seasons: [24], stepSeconds: 3_600, points: { length: 24 } }]);
  const points: { time: number; mean: number; intervals: { level: number }[] }[] = series[0].points;
  t.match(points[6], { step: 7, time: 3_600 * 510, intervals: [{ level: 90 }] });
  t.ok(Math.abs((points[6]?.mean ?? 0) - 150) < 2, 'the top of the wave');
  t.equal(points[0]?.intervals.length, 1);
});

t.test('wrong use is told', async (t) => {
  const bad = await shoal(['--file', '-', '--horizon', '3'], '1,2\n2,x\n');
  t.match(bad, { code: 2, err: /nothing was forecast[\s\S]*<stdin>:2:1: value: "x" is no number/ });
  const uses: [string[], RegExp][] = [
    [[], /say what to forecast: APP\/COMPONENT, or --file FILE/],
    [['--file', '-'], /say by --horizon how many steps/],
    [['a/b', '--file', '-', '--horizon', '3'], /not both/],
    [['--file', '-', '--horizon', '3', '--season', '168,24'], /the shortest first, not "168,24"/],
    [['--file', '-', '--horizon', '3', '--level', '100'], /--level takes at most 5 percentages/],
    [['--file', '-', '--horizon', '3', '--level', '0.95'], /from 1 to below 100, such as 80,95, not "0.95"/],
    [['--file', '/nowhere/x.csv', '--horizon', '3'], /cannot read \/nowhere\/x.csv/],
  ];
  for (const [words, err] of uses) t.match(await shoal(words, rows.join('\n')), { code: 2, err });
  const short = await shoal(['--file', '-', '--horizon', '3', '--season', '24'], '1,2\n2,3\n3,4\n');
  t.match(short, { code: 2, err: /<stdin>: a season of 24 steps needs 48 values, and there are 3/ });
  const few = await shoal(['--file', '-', '--horizon', '3'], 'a,1,2,3\n\nb,1,2\n');
  t.match(few, { code: 2, err: /<stdin>:3: series b: too few values: 2 known, and 3 are needed/ });
});
