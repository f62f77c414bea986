import { access, readdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');
/** A file with or without what it ends in, of any tier, or a folder; native tests are in C++. */
const ENDINGS = ['', '.test.ts', '.slow.test.ts', '.long.test.ts', '.ts', '.cc'];

t.test('tests that docs and scripts name are there', async (t) => {
  const docs = (await readdir(`${ROOT}/docs`)).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`);
  for (const file of ['README.md', ...docs]) {
    const text = await readFile(`${ROOT}/${file}`, 'utf8');
    const names = new Set(text.match(/\b(?:native\/)?test\/[a-z][\w./-]*\w/g));
    for (const name of names) t.ok(await isThere(name.replace(/\.js$/, '.ts')), `${file} names ${name}`);
  }
});

t.test('tests that run under other Node versions are there', async (t) => {
  const script = await readFile(`${ROOT}/scripts/test-node-versions`, 'utf8');
  const names = /^tests=\((.+)\)$/m.exec(script)?.[1]?.split(' ') ?? [];
  t.ok(names.length > 0);
  for (const name of names) t.ok(await isThere(`test/${name}.test.ts`), name);
});

async function isThere(name: string): Promise<boolean> {
  const found = await Promise.all(
    ENDINGS.map((ending) =>
      access(`${ROOT}/${name}${ending}`).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
