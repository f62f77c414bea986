import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { EXIT_CODES } from '../../cli/commands/help.js';
import { findPackageRoot } from '../../cli/package-root.js';
import { createProgram } from '../../cli/program.js';
import { PLAIN } from '../../cli/render/paint.js';
import { ERRORS } from '../../protocol/errors.js';
import { NO_STREAMS, runCli } from './run-cli.js';

const COMMANDS =
  'up apply get ps top describe state explain profile scale mode pause resume calendar host build builds logs events exec secret forecast delete version doctor completion help simulate store init cert token join renew'.split(
    ' ',
  );

const program = createProgram(
  {
    out: () => {},
    err: () => {},
    env: {},
    terminal: false,
    paint: PLAIN,
    size: () => ({ width: 120, height: 50 }),
    streams: NO_STREAMS,
  },
  new AbortController().signal,
);

t.test('every command has help with examples, all of them commands that parse', async (t) => {
  t.strictSame(program.commands.map((command) => command.name()).sort(), [...COMMANDS].sort());
  for (const command of program.commands) {
    const parts: string[] = [];
    command.configureOutput({ writeOut: (text) => parts.push(text) });
    command.outputHelp();
    const help = parts.join('');
    t.match(help, /Examples:\n {2}\$ /, command.name());
    t.match(help, '--json');
    for (const [, words] of help.matchAll(/\$ shoal ([a-z]+)/g))
      t.ok(COMMANDS.includes(words ?? ''), `example of ${words}`);
  }
});

t.test('help in all its forms ends with 0 and prints to standard output', async (t) => {
  const forms = [['help'], ['--help'], ['help', 'apply'], ['apply', '--help'], ['help', 'exit-codes']];
  for (const words of forms) {
    const { code, out, err } = await runCli(words);
    t.match({ code, err }, { code: 0, err: '' }, words.join(' '));
    t.ok(out.length > 100);
  }
  t.match(JSON.parse((await runCli(['help', 'exit-codes', '--json'])).out)[5], { code: 5 });
});

t.test('every error has an exit code that help and docs/cli.md explain', async (t) => {
  const codes = EXIT_CODES.map(([code]) => code);
  for (const error of Object.values(ERRORS)) t.ok(codes.includes(error.exitCode));
  const page = readFileSync(new URL('docs/cli.md', findPackageRoot()), 'utf8');
  for (const [code, meaning] of EXIT_CODES) {
    t.ok(
      page.split('\n').some((line) => line.startsWith(`| ${code} `) && line.includes(meaning)),
      `docs/cli.md: ${code} ${meaning}`,
    );
  }
  for (const command of COMMANDS) t.match(page, `shoal ${command}`);
});

const present = (shell: string): boolean => spawnSync(shell, ['--version']).error === undefined;

t.test('completion scripts hold every command and are right in syntax', async (t) => {
  for (const [shell, check] of [
    ['bash', ['bash', '-n']],
    ['zsh', ['zsh', '-n']],
    ['fish', ['fish', '--no-execute']],
  ] as const) {
    const { code, out } = await runCli(['completion', shell]);
    t.equal(code, 0);
    for (const command of COMMANDS) t.match(out, command, `${shell}: ${command}`);
    t.match(JSON.parse((await runCli(['completion', shell, '--json'])).out), { shell, script: out });
    const [file, ...words] = check;
    if (!present(file)) continue;
    const folder = t.testdir({ script: out });
    const checked = spawnSync(file, [...words, `${folder}/script`], { encoding: 'utf8' });
    t.match(checked, { status: 0, stderr: '' }, `${shell} accepts it`);
  }
});

/** What bash would offer after these words, the last being the one that is typed. */
function complete(script: string, words: readonly string[]): string[] {
  const ask = `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shoal; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', ask, 'bash', ...words], { encoding: 'utf8' });
  if (stderr !== '') throw new Error(stderr);
  return stdout.split('\n').filter((line) => line !== '');
}

t.test('bash completes commands, choices and options', { skip: !present('bash') }, async (t) => {
  const { out } = await runCli(['completion', 'bash']);
  t.strictSame(complete(out, ['shoal', 'de']), ['describe', 'delete']);
  t.strictSame(complete(out, ['shoal', 'get', 'in']), ['instances']);
  t.strictSame(complete(out, ['shoal', '--server', 'http://x', 'get', 'ho']), ['hosts']);
  t.strictSame(complete(out, ['shoal', 'get', 'hosts', 'h']), []);
  t.strictSame(complete(out, ['shoal', 'logs', '--ta']), ['--tail']);
  t.strictSame(complete(out, ['shoal', 'help', 'exit']), ['exit-codes']);
  t.strictSame(complete(out, ['shoal', 'forecast', '--horizon', '']), []);
});
