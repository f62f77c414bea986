import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type Base, type Project, recipeFor } from '../../../agent/builds/recipe.js';

/** Seen from dist/test/agent/builds. */
const PACKAGE = fileURLToPath(new URL('../../../..', import.meta.url));
const HOST: Base = { kind: 'host' };

/** A name that ends in a slash is a folder's. */
function project(names: string[], texts: Record<string, string> = {}): Project {
  const isFolder = (name: string) => name.endsWith('/');
  const files = names.filter((name) => !isFolder(name));
  const folders = names.filter(isFolder).map((name) => name.slice(0, -1));
  return { names: new Set([...files, ...Object.keys(texts)]), folders: new Set(folders), texts };
}

function textOf(given: Project, base: Base = HOST): string {
  return recipeFor(given, base).text ?? '';
}

t.test('a Containerfile goes before what the language would need', async (t) => {
  const both = project(['Dockerfile', 'Containerfile'], { 'package.json': '{}' });
  t.strictSame(recipeFor(both, HOST), { language: 'containerfile', file: 'Containerfile' });
});

t.test('a Node project: what the lock file fixes is installed before the sources come', async (t) => {
  const manifest = JSON.stringify({
    dependencies: { a: '1' },
    scripts: { build: 'tsc', start: 'node dist/main.js --port 1' },
  });
  const text = textOf(project(['package-lock.json'], { 'package.json': manifest }));
  const steps = text.split('\n').map((line) => line.split(' ').slice(0, 3).join(' '));
  const at = (step: string) => steps.indexOf(step);
  t.ok(at('RUN npm ci') > 0 && at('RUN npm ci') < at('COPY . .'), text);
  t.ok(at('COPY . .') < at('RUN npm run') && at('RUN npm run') < at('RUN npm prune'), text);
  t.match(text, 'CMD ["node","dist/main.js","--port","1"]');
  const shell = textOf(project([], { 'package.json': '{"scripts":{"start":"A=1 node a.js && true"}}' }));
  t.match(shell, 'CMD ["/bin/sh","-c","A=1 node a.js && true"]');
  t.notMatch(shell, /npm/, 'without dependencies nothing is installed');
  t.match(textOf(project([], { 'package.json': '{"main":"a.js"}' })), 'CMD ["node","a.js"]');
  t.throws(() => textOf(project([], { 'package.json': '{}' })), /step detect: package.json has neither/);
  t.throws(() => textOf(project([], { 'package.json': '{' })), /step detect: package.json is no JSON/);
});

t.test('what a Node project starts is also looked for among the programs of its packages, as npm does', async (t) => {
  const next = project([], { 'package.json': '{"dependencies":{"next":"15"},"scripts":{"start":"next start"}}' });
  const host = textOf(next);
  t.match(host, 'CMD ["next","start"]');
  t.match(host, /^ENV NODE_ENV=production PATH=\/app\/node_modules\/\.bin:\/opt\/shoal\/bin:.*:\/usr\/bin:\/bin$/m);
  const image = textOf(next, { kind: 'image', reference: 'node:22' });
  t.match(image, /^ENV NODE_ENV=production PATH=\/app\/node_modules\/\.bin:\$\{PATH:-\/usr\/local\/sbin:.*\}$/m);
});

t.test('Python, Go, Rust and static projects', async (t) => {
  t.match(
    textOf(project(['requirements.txt', 'app.py'])),
    /pip install .*-r requirements.txt\nCOPY \. \.\n.*python3","app.py"/s,
  );
  t.throws(() => textOf(project(['requirements.txt'])), /step detect: there is none of main.py/);
  t.match(textOf(project(['go.mod', 'go.sum'])), /RUN go mod download\nCOPY \. \.\nRUN go build -trimpath/);
  t.match(textOf(project([], { 'Cargo.toml': '[package]\nname = "shop"\n[dependencies]\n' })), 'target/release/shop');
  t.match(textOf(project(['index.html'])), 'static-server.js","/app"]');
  t.throws(() => textOf(project(['README.md'])), /add a Containerfile/);
});

t.test('what is installed of the sources themselves is installed after they came', async (t) => {
  const json = (fields: object) => ({ 'package.json': JSON.stringify({ main: 'a.js', ...fields }) });
  const fromFiles = project(['package-lock.json', '.npmrc'], json({ dependencies: { a: '^1.0.0' } }));
  t.match(textOf(fromFiles), /COPY package.json package-lock.json .npmrc .\/\nRUN npm ci .*\nCOPY \. \./);
  const cargo = (more: string) => ({ 'Cargo.toml': `[package]\nname = "shop"\n${more}` });
  const module = (more: string) => ({ 'go.mod': `module shop\n${more}` });
  t.match(textOf(project(['Cargo.lock'], cargo(''))), /cargo fetch --locked\nCOPY \. \./);
  t.match(textOf(project(['main.py'], { 'requirements.txt': 'flask==3.0\n' })), /-r requirements.txt\nCOPY \. \./);
  for (const local of [
    project(['package-lock.json'], json({ dependencies: { a: 'file:./a' } })),
    project(['package-lock.json'], json({ dependencies: { a: '1' }, workspaces: ['a'] })),
    project(['package-lock.json'], json({ dependencies: { a: '1' }, scripts: { postinstall: 'node patch.js' } })),
    project(['main.py'], { 'requirements.txt': 'flask\n./wheels/a.whl\n' }),
    project(['main.py'], { 'requirements.txt': 'wheels/a.whl' }),
    project(['main.py'], { 'requirements.txt': '-r base.txt\n' }),
    project(['main.py'], { 'requirements.txt': '-c constraints.txt\nflask' }),
    project(['go.sum', 'vendor/'], module('')),
    project(['go.sum'], module('replace a => ./a\n')),
    project(['Cargo.lock', '.cargo/'], cargo('')),
    project(['Cargo.lock'], cargo('[dependencies]\na = { path = "a" }\n')),
    project(['Cargo.lock'], cargo('[workspace]\nmembers = ["a"]\n')),
  ]) {
    const text = textOf(local);
    const between = text.slice(0, text.indexOf('COPY . .'));
    t.notMatch(between, 'RUN', text);
  }
});

t.test(
  'on an image that has no Shoal, a project of files brings the server that it starts, and what that imports',
  async (t) => {
    const text = textOf(project(['index.html']), { kind: 'image', reference: 'node:22' });
    const inside = new Map<string, string>();
    for (const [, from = '', to = ''] of text.matchAll(/^COPY --from=shoal-package (\S+) (\S+)$/gm))
      inside.set(to, from);
    const [, server = ''] = /CMD \["node","([^"]+)","\/app"\]/.exec(text) ?? [];
    t.match(inside.get(join(server, '../../../package.json')), 'package.json');
    const look = async (path: string): Promise<void> => {
      t.ok(inside.has(path), path);
      const code = await readFile(join(PACKAGE, inside.get(path) ?? ''), 'utf8');
      for (const [, name = ''] of code.matchAll(/^(?:im|ex)port\b.* from '([^']+)';$/gm)) {
        if (name.startsWith('.')) await look(join(path, '..', name));
        else t.match(name, /^node:/);
      }
    };
    await look(server);
    t.notMatch(textOf(project(['index.html'])), 'shoal-package', 'the host\u2019s own root has it');
  },
);

t.test('a lock file that the recipe would ignore is refused, unless one is beside it that holds', async (t) => {
  const json = { 'package.json': '{"main":"a.js","dependencies":{"a":"1"}}' };
  for (const lock of ['yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb']) {
    t.throws(() => textOf(project([lock], json)), {
      message: new RegExp(`npm would ignore what ${lock} fixes; add pack`),
    });
    t.match(textOf(project([lock, 'package-lock.json'], json)), 'RUN npm ci');
  }
  for (const lock of ['poetry.lock', 'uv.lock', 'pdm.lock', 'Pipfile.lock']) {
    const names = [lock, 'pyproject.toml', 'main.py'];
    t.throws(() => textOf(project(names)), { message: new RegExp(`pip would ignore what ${lock} fixes; add requ`) });
    t.match(textOf(project([...names, 'requirements.txt'])), '-r requirements.txt');
  }
});

t.test('the program of a Rust project is that of its only [[bin]], else the package', async (t) => {
  const made = (text: string) => /target\/release\/(\S+)/.exec(textOf(project([], { 'Cargo.toml': text })))?.[1];
  t.equal(made('[package]\nauthors = ["A"]\nname = "shop"\n[lib]\nname = "other"\n'), 'shop');
  t.equal(made('[package]\nname = "shop"\n[[bin]]\npath = "x.rs"\nname = "till"\n'), 'till');
  t.equal(made('[package]\nname = "shop"\n[[bin]]\nname = "a"\n[[bin]]\nname = "b"\n'), 'shop');
  t.throws(() => made('[lib]\nname = "x"\n'), /names no \[package\]/);
});

t.test('the base is the host\u2019s own root, or the image that the operator has named', async (t) => {
  const go = project(['go.mod']);
  t.match(textOf(go), 'FROM scratch AS build\nCOPY --from=shoal-host / /\nLABEL shoal.base=host');
  const named = textOf(go, { kind: 'image', reference: 'debian:12' });
  t.match(named, /^FROM debian:12 AS build$/m);
  t.notMatch(named, /shoal/);
});
