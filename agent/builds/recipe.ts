import { ShoalError } from '../../protocol/errors.js';

/** What is known of a project: the names of files and folders in its top folder, and the text of those that recipes look into. */
export interface Project {
  names: ReadonlySet<string>;
  folders: ReadonlySet<string>;
  /** Of TEXTS_READ those that are there. */
  texts: Readonly<Record<string, string>>;
}

export type Language = 'containerfile' | 'node' | 'python' | 'go' | 'rust' | 'static';

export interface Recipe {
  language: Language;
  /** Name of the project's own Containerfile; absent: `text` is one that was made. */
  file?: string;
  text?: string;
}

/** Where recipes find the root that is below the project: the base that the operator has named, or the host's own. */
export type Base = { kind: 'host' } | { kind: 'image'; reference: string };

/** The build context that holds the skeleton of the host's root. */
export const HOST_BASE_CONTEXT = 'shoal-host';

/** The build context that is Shoal's own package. */
export const PACKAGE_CONTEXT = 'shoal-package';

/** The label by which an image says that the host's system folders belong below it. */
export const HOST_BASE_LABEL = 'shoal.base';

export const CONTAINERFILES = ['Containerfile', 'Dockerfile'];
export const TEXTS_READ = ['package.json', 'Cargo.toml', 'go.mod', 'requirements.txt'];
const HOST_PATH = '/opt/shoal/bin:/usr/local/bin:/usr/bin:/bin';
/** Of images that say none. */
const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const PACKAGE_INSIDE = '/node_modules/shoal';
/** The server of files, what it imports, and what says that both are modules. */
const STATIC_SERVER = ['dist/sdk/static-server.js', 'dist/protocol/control.js', 'package.json'];
const NODE_LOCKS = ['package-lock.json', 'npm-shrinkwrap.json'];
/** Lock files that the recipes' own tools, npm and pip, do not read. */
const FOREIGN_NODE_LOCKS = ['yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb'];
const FOREIGN_PYTHON_LOCKS = ['poetry.lock', 'uv.lock', 'pdm.lock', 'Pipfile.lock'];
const NPM_REMEDY = 'add package-lock.json (npm install --package-lock-only) or a Containerfile';
const PIP_REMEDY = 'add requirements.txt with the versions that it fixes, or a Containerfile';
const NODE_MAINS = ['server.js', 'server.mjs', 'main.js', 'main.mjs', 'index.js', 'index.mjs', 'app.js', 'app.mjs'];
const PYTHON_MAINS = ['main.py', 'app.py', 'server.py', '__main__.py'];
/** Scripts that npm runs when it installs, and that may be anything in the project. */
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare'];
/** In requirements.txt: other files of the project, which pip reads or installs. */
const LOCAL_REQUIREMENT =
  /^\s*(-[rcef]\b|--(requirement|constraint|editable|find-links)\b|[\w.-]*\/)|\bfile:|@\s*\.{0,2}\//m;
/** A start command that needs no shell: node or another word, and plain words after it. */
const PLAIN_COMMAND = /^[A-Za-z0-9_./@=:-]+( [A-Za-z0-9_./@=:-]+)*$/;

/**
 * How the project is built. Its own Containerfile goes before everything; then the file that each language's tools ask
 * for decides. What a lock file fixes is installed before the sources come, so that it is made again only with it.
 */
export function recipeFor(project: Project, base: Base): Recipe {
  const file = CONTAINERFILES.find((name) => project.names.has(name));
  if (file !== undefined) return { language: 'containerfile', file };
  if (project.names.has('package.json')) return { language: 'node', text: node(project, base) };
  if (project.names.has('go.mod')) return { language: 'go', text: go(project, base) };
  if (project.names.has('Cargo.toml')) return { language: 'rust', text: rust(project, base) };
  if (project.names.has('requirements.txt') || project.names.has('pyproject.toml')) {
    return { language: 'python', text: python(project, base) };
  }
  if (project.names.has('index.html')) return { language: 'static', text: files(base) };
  const looked = 'Containerfile, Dockerfile, package.json, go.mod, Cargo.toml, requirements.txt, pyproject.toml';
  throw new ShoalError('SHOAL_E_START', `step detect: there is none of ${looked} and index.html; add a Containerfile`);
}

/** The first lines of each stage. */
function stage(base: Base, name?: string): string[] {
  const as = name === undefined ? '' : ` AS ${name}`;
  if (base.kind === 'image') return [`FROM ${base.reference}${as}`, 'ENV HOME=/tmp', 'WORKDIR /app'];
  return [
    `FROM scratch${as}`,
    `COPY --from=${HOST_BASE_CONTEXT} / /`,
    `LABEL ${HOST_BASE_LABEL}=host`,
    `ENV HOME=/tmp PATH=${HOST_PATH}`,
    'WORKDIR /app',
  ];
}

/** PATH of the stage before: that of an image is not known here, and may be none. */
function pathOf(base: Base): string {
  return base.kind === 'host' ? HOST_PATH : `\${PATH:-${IMAGE_PATH}}`;
}

function command(words: readonly string[]): string {
  return `CMD ${JSON.stringify(words)}`;
}

function lines(...parts: (string | readonly string[] | null)[]): string {
  return `${parts.flatMap((part) => part ?? []).join('\n')}\n`;
}

function node(project: Project, base: Base): string {
  const {
    scripts = {},
    dependencies = {},
    devDependencies = {},
    optionalDependencies = {},
    main,
    isOfSources,
  } = readPackage(project.texts['package.json'] ?? '');
  const lock = NODE_LOCKS.find((name) => project.names.has(name));
  if (lock === undefined) refuseLock(project, FOREIGN_NODE_LOCKS, 'npm', NPM_REMEDY);
  const builds = scripts.build !== undefined;
  const needed = { ...dependencies, ...optionalDependencies, ...(builds ? devDependencies : {}) };
  const needs = Object.keys(needed).length > 0;
  const omit = builds ? '' : ' --omit=dev';
  const flags = '--no-audit --no-fund --no-update-notifier --cache /tmp/npm';
  const install = lock === undefined ? `RUN npm install${omit} ${flags}` : `RUN npm ci${omit} ${flags}`;
  const asked = ['package.json', lock, project.names.has('.npmrc') ? '.npmrc' : undefined].filter(Boolean);
  const start = scripts.start ?? '';
  const entry = main ?? NODE_MAINS.find((name) => project.names.has(name));
  if (start === '' && entry === undefined) {
    throw new ShoalError('SHOAL_E_START', 'step detect: package.json has neither scripts.start nor main; add one');
  }
  const words = start === '' ? ['node', entry as string] : plainOrShell(start);
  return lines(
    stage(base),
    needs ? installed(install, isOfSources ? null : asked.join(' ')) : 'COPY . .',
    builds ? 'RUN npm run build' : null,
    builds && needs ? `RUN npm prune --omit=dev ${flags}` : null,
    // As npm does it: scripts name the programs of packages, such as `next start`.
    `ENV NODE_ENV=production PATH=/app/node_modules/.bin:${pathOf(base)}`,
    command(words),
  );
}

/** To install other versions than a lock file fixes, without a word, would be worse than to build nothing. */
function refuseLock(project: Project, locks: readonly string[], tool: string, remedy: string): void {
  const found = locks.find((name) => project.names.has(name));
  if (found === undefined) return;
  throw new ShoalError('SHOAL_E_START', `step detect: ${tool} would ignore what ${found} fixes; ${remedy}`);
}

/** The sources, and what is installed from these files, before the sources come; null: it is made of the sources. */
function installed(install: string, files: string | null): string[] {
  return files === null ? ['COPY . .', install] : [`COPY ${files} ./`, install, 'COPY . .'];
}

function plainOrShell(start: string): string[] {
  return PLAIN_COMMAND.test(start) ? start.split(' ') : ['/bin/sh', '-c', start];
}

function python(project: Project, base: Base): string {
  const target = '--no-cache-dir --no-compile --disable-pip-version-check --target /app/.packages';
  const entry = PYTHON_MAINS.find((name) => project.names.has(name));
  if (entry === undefined) {
    throw new ShoalError('SHOAL_E_START', `step detect: there is none of ${PYTHON_MAINS.join(', ')} to start; add one`);
  }
  const listed = project.names.has('requirements.txt');
  if (!listed) refuseLock(project, FOREIGN_PYTHON_LOCKS, 'pip', PIP_REMEDY);
  const isOfSources = !listed || LOCAL_REQUIREMENT.test(project.texts['requirements.txt'] ?? '');
  const install = `RUN python3 -m pip install ${target} ${listed ? '-r requirements.txt' : '.'}`;
  return lines(
    stage(base),
    'ENV PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app/.packages',
    installed(install, isOfSources ? null : 'requirements.txt'),
    command(['python3', entry]),
  );
}

function go(project: Project, base: Base): string {
  // A vendored module is not fetched, and one that stands for a folder of the project needs that folder.
  const fetches =
    project.names.has('go.sum') &&
    !project.folders.has('vendor') &&
    !/=>\s*\.{1,2}\//.test(project.texts['go.mod'] ?? '');
  return lines(
    stage(base, 'build'),
    'ENV GOPATH=/go GOCACHE=/tmp/go-build GOTOOLCHAIN=local CGO_ENABLED=0',
    fetches ? installed('RUN go mod download', 'go.mod go.sum') : 'COPY . .',
    'RUN go build -trimpath -buildvcs=false -o /app/program .',
    stage(base),
    'COPY --from=build /app/program /app/program',
    command(['/app/program']),
  );
}

function rust(project: Project, base: Base): string {
  const text = project.texts['Cargo.toml'] ?? '';
  const name = programOf(text);
  if (name === undefined) {
    throw new ShoalError('SHOAL_E_START', 'step detect: Cargo.toml names no [package]; add a Containerfile');
  }
  const locked = project.names.has('Cargo.lock');
  // Of these the fetch needs more of the project than two files, or nothing is fetched at all.
  const isOfSources =
    ['.cargo', 'vendor'].some((folder) => project.folders.has(folder)) || /^\s*\[workspace\b|\bpath\s*=/m.test(text);
  const fetch = 'RUN mkdir -p src && touch src/main.rs && cargo fetch --locked';
  return lines(
    stage(base, 'build'),
    'ENV CARGO_HOME=/cargo',
    locked && !isOfSources ? installed(fetch, 'Cargo.toml Cargo.lock') : 'COPY . .',
    // What a program carries of the place and time it was built at would differ from one build to the next.
    `RUN cargo build --release${locked ? ' --locked' : ''} && cp target/release/${name} /app/program`,
    stage(base),
    'COPY --from=build /app/program /app/program',
    command(['/app/program']),
  );
}

/** The program that a Cargo.toml makes: that of its only [[bin]], else the package's; undefined without a package. */
function programOf(text: string): string | undefined {
  const tables = text.split(/^(?=\s*\[)/m).map((table) => table.trim());
  const nameOf = (table = '') => /^\s*name\s*=\s*"([A-Za-z0-9_-]+)"/m.exec(table)?.[1];
  const own = nameOf(tables.find((table) => table.startsWith('[package]')));
  const [program, ...more] = tables.filter((table) => table.startsWith('[[bin]]'));
  return own !== undefined && more.length === 0 ? (nameOf(program) ?? own) : own;
}

function files(base: Base): string {
  const server = `${PACKAGE_INSIDE}/${STATIC_SERVER[0]}`;
  // Below a made root the host's own package is mounted there.
  const copied = STATIC_SERVER.map((file) => `COPY --from=${PACKAGE_CONTEXT} ${file} ${PACKAGE_INSIDE}/${file}`);
  return lines(stage(base), base.kind === 'image' ? copied : null, 'COPY . .', command(['node', server, '/app']));
}

interface Package {
  scripts?: Record<string, string>;
  dependencies?: Record<string, unknown>;
  devDependencies?: Record<string, unknown>;
  optionalDependencies?: Record<string, unknown>;
  main?: string;
  /** To install it takes more of the project than package.json and the lock file. */
  isOfSources?: boolean;
}

/** The parts of a package.json that decide; what has another shape than npm takes counts as not there. */
function readPackage(text: string): Package {
  const value = parseMap(text);
  const texts = (of: unknown) =>
    Object.fromEntries(
      Object.entries(asMap(of)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    );
  const found: Package = {
    scripts: texts(value.scripts),
    dependencies: asMap(value.dependencies),
    devDependencies: asMap(value.devDependencies),
    optionalDependencies: asMap(value.optionalDependencies),
  };
  const places = [value.dependencies, value.devDependencies, value.optionalDependencies].flatMap((of) =>
    Object.values(texts(of)),
  );
  found.isOfSources =
    value.workspaces !== undefined ||
    places.some((place) => /^(file:|link:|[./~])/.test(place)) ||
    INSTALL_SCRIPTS.some((name) => found.scripts?.[name] !== undefined);
  if (typeof value.main === 'string' && value.main !== '') found.main = value.main;
  return found;
}

function parseMap(text: string): Record<string, unknown> {
  try {
    return asMap(JSON.parse(text));
  } catch {
    throw new ShoalError('SHOAL_E_START', 'step detect: package.json is no JSON');
  }
}

function asMap(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
