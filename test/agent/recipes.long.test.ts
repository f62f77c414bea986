import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { AgentRig, component, instance } from './rig.js';

/**
 * A project of each language that has no Containerfile: it is built by its recipe with the host's own tools, and serves a
 * request that its one dependency answers. Dependencies are files of the projects, so that no network is needed.
 */
const SOCKET = '/run/shoal/http.sock';
const ANSWER = 'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 5\\r\\n\\r\\n';

const NODE = {
  'package.json': JSON.stringify({
    name: 'shop',
    version: '1.0.0',
    dependencies: { greeting: 'file:greeting' },
    // A program of the dependency, as `next start` is one.
    scripts: { start: 'greet main.js' },
  }),
  'package-lock.json': JSON.stringify({
    name: 'shop',
    version: '1.0.0',
    lockfileVersion: 3,
    packages: {
      '': { name: 'shop', version: '1.0.0', dependencies: { greeting: 'file:greeting' } },
      greeting: { version: '1.0.0', bin: { greet: 'greet.js' } },
      'node_modules/greeting': { resolved: 'greeting', link: true },
    },
  }),
  'greeting/package.json': '{"name":"greeting","version":"1.0.0","bin":{"greet":"greet.js"}}',
  'greeting/greet.js': `#!/usr/bin/env node\nrequire(require('path').resolve(process.argv[2]))\n`,
  'greeting/index.js': `module.exports = 'node!'`,
  'main.js': `require('http').createServer((_, answer) => answer.end(require('greeting'))).listen('${SOCKET}')`,
};

const PYTHON = {
  'requirements.txt': './greeting-1.0-py3-none-any.whl\n',
  'main.py': `
import greeting, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b'${ANSWER}' + greeting.WORD)
socketserver.UnixStreamServer('${SOCKET}', Handler).serve_forever()
`,
};
/** Makes a wheel (a zip file with these names: PEP 427). */
const WHEEL = `
import sys, zipfile
about = 'greeting-1.0.dist-info/'
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('greeting.py', "WORD = b'pyth!'")
    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n')
    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(about + 'RECORD', '')
`;

const GO = {
  'go.mod': 'module example.org/shop\n\ngo 1.19\n\nrequire example.org/greeting v1.0.0\n',
  'go.sum': '',
  'vendor/modules.txt': '# example.org/greeting v1.0.0\n## explicit\nexample.org/greeting\n',
  'vendor/example.org/greeting/greeting.go': 'package greeting\n\nconst Word = "go!!!"\n',
  'main.go': `package main

import (
	"example.org/greeting"
	"net"
)

func main() {
	listener, err := net.Listen("unix", "${SOCKET}")
	if err != nil {
		panic(err)
	}
	for {
		caller, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		caller.Read(make([]byte, 4096))
		caller.Write([]byte("${ANSWER}" + greeting.Word))
		caller.Close()
	}
}
`,
};

const CHECKSUM = '0'.repeat(64);
const RUST = {
  'Cargo.toml': '[package]\nname = "shop"\nversion = "1.0.0"\nedition = "2021"\n\n[dependencies]\ngreeting = "1.0.0"\n',
  'Cargo.lock': `version = 3

[[package]]
name = "greeting"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "${CHECKSUM}"

[[package]]
name = "shop"
version = "1.0.0"
dependencies = [
 "greeting",
]
`,
  '.cargo/config.toml':
    '[source.crates-io]\nreplace-with = "vendored-sources"\n\n[source.vendored-sources]\ndirectory = "vendor"\n',
  'vendor/greeting/.cargo-checksum.json': JSON.stringify({ files: {}, package: CHECKSUM }),
  'vendor/greeting/Cargo.toml': '[package]\nname = "greeting"\nversion = "1.0.0"\nedition = "2021"\n',
  'vendor/greeting/src/lib.rs': 'pub const WORD: &str = "rust!";\n',
  'src/main.rs': `use std::io::{Read, Write};

fn main() {
    let listener = std::os::unix::net::UnixListener::bind("${SOCKET}").unwrap();
    for caller in listener.incoming() {
        let mut caller = caller.unwrap();
        let _ = caller.read(&mut [0; 4096]);
        let _ = caller.write_all(format!("${ANSWER}{}", greeting::WORD).as_bytes());
    }
}
`,
};

const STATIC = { 'index.html': 'page!' };

const projects = [
  { name: 'node', files: NODE, answers: 'node!', tool: '/usr/bin/npm' },
  { name: 'python', files: PYTHON, answers: 'pyth!', tool: '/usr/lib/python3/dist-packages/pip' },
  { name: 'go', files: GO, answers: 'go!!!', tool: '/usr/bin/go' },
  { name: 'rust', files: RUST, answers: 'rust!', tool: '/usr/bin/cargo' },
  { name: 'static', files: STATIC, answers: 'page!', tool: '/usr' },
].filter(({ name, tool }) => {
  if (existsSync(tool)) return true;
  t.comment(`${name} is left out: ${tool} is not here`);
  return false;
});

async function put(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

t.test('projects without a Containerfile are built by the host\u2019s tools, and serve', async (t) => {
  const folder = await mkdtemp('/run/shoal-projects-');
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const { name, files } of projects) await put(join(folder, name), files);
  if (projects.some(({ name }) => name === 'python')) {
    execFileSync('python3', ['-c', WHEEL, join(folder, 'python/greeting-1.0-py3-none-any.whl')]);
  }
  const rig = await AgentRig.make();
  const source = (name: string) => ({ kind: 'build' as const, build: join(folder, name) });
  const watched = projects.map(({ name }) => [name, component(name, { source: source(name), command: [] })]);
  rig.desire(() => ({ apps: { t: Object.fromEntries(watched) }, instances: [] }));
  const buildsOf = (name: string) => rig.builds.filter((each) => each.component === name);
  const last = (name: string) => buildsOf(name).at(-1);
  await rig.until('all are built', () => projects.every(({ name }) => (last(name)?.endedMs ?? 0) > 0), 240_000);
  for (const { name } of projects) {
    const { state, why, startedMs = 0, endedMs } = last(name) ?? {};
    t.equal(state, 'built', `${name}: ${why}`);
    t.comment(`${name}: ${(((endedMs ?? 0) - startedMs) / 1000).toFixed(1)} s`);
  }

  const running = projects.map(({ name }, at) => {
    const pinned = { ...source(name), revision: last(name)?.revision ?? '' };
    const ports = [{ name: 'http', host: 18_430 + at }];
    return [name, component(name, { source: pinned, command: [], ports })];
  });
  rig.desire(() => ({
    apps: { t: Object.fromEntries(running) },
    instances: projects.map(({ name }) => instance(name, 0)),
  }));
  for (const [at, { name, answers }] of projects.entries()) {
    await rig.until(`${name} serves`, () => rig.status(`t-${name}-0`)?.phase === 'ready', 60_000);
    const response = await fetch(`http://127.0.0.1:${18_430 + at}/`, { signal: AbortSignal.timeout(20_000) });
    t.equal(await response.text(), answers);
  }
  t.same(await rig.close(), []);
});

t.test(
  'what a lock file fixes is installed once; other sources do not make it again, another lock file does',
  async (t) => {
    const folder = await mkdtemp('/run/shoal-projects-');
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    // npm installs nothing from elsewhere: an optional dependency that no system is right for.
    const about = (version: string) => {
      const greeting = { version: '1.0.0', os: ['none'], optional: true, integrity: 'sha512-AA==' };
      const own = { name: 'shop', version, dependencies: {}, optionalDependencies: { greeting: '1.0.0' } };
      return { packages: { '': own, 'node_modules/greeting': greeting }, lockfileVersion: 3, name: 'shop', version };
    };
    const json = (version: string) => ({
      'package.json': JSON.stringify({ ...about(version).packages[''], main: 'main.js' }),
      'package-lock.json': JSON.stringify(about(version)),
    });
    await put(folder, { ...json('1.0.0'), 'main.js': '' });
    const rig = await AgentRig.make();
    const look = (looks: number) => ({ kind: 'build' as const, build: folder, looks });
    const logs: string[] = [];
    for (const [round, files] of [{}, { 'main.js': '// other' }, json('2.0.0')].entries()) {
      await put(folder, files);
      const x = component('x', { source: look(round), command: [] });
      rig.desire(() => ({ apps: { t: { x } }, instances: [] }));
      const built = () => rig.builds.filter(({ state }) => state === 'built');
      await rig.until('it is built anew', () => built().length === round + 1, 90_000);
      logs.push(await readFile(join(rig.run, 'builds', built().at(-1)?.id ?? '', 'log'), 'utf8'));
    }
    const cached = logs.map((log) => /RUN npm ci[^\n]*\n[^\n]*Using cache/.test(log));
    t.strictSame(cached, [false, true, false], logs.join('\n'));
    t.same(await rig.close(), []);
  },
);
