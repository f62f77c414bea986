/** A command with all that can follow it, as plain data. */
export interface CommandShape {
  name: string;
  summary: string;
  options: { flags: string[]; takesValue: boolean; takesFile: boolean; description: string }[];
  /** Words that the arguments allow, one list for each argument. */
  choices: string[][];
}

export interface CompletionShape {
  program: string;
  commands: CommandShape[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export function renderCompletion(shell: Shell, shape: CompletionShape): string[] {
  if (shell === 'bash') return bash(shape);
  return shell === 'zsh' ? zsh(shape) : fish(shape);
}

const flagsOf = (command: CommandShape): string[] => command.options.flatMap((option) => option.flags);

function bash({ program, commands }: CompletionShape): string[] {
  const valued = new Set(
    commands
      .flatMap((each) => each.options)
      .filter((option) => option.takesValue)
      .flatMap((o) => o.flags),
  );
  const files = new Set(
    commands
      .flatMap((each) => each.options)
      .filter((option) => option.takesFile)
      .flatMap((o) => o.flags),
  );
  const cases = commands.map((command) => {
    const counted = command.choices.map((words, at) => `${at}) words="${words.join(' ')}" ;;`).join(' ');
    const choices = counted === '' ? '' : `case $position in ${counted} esac; `;
    return `    ${command.name}) ${choices}flags="${flagsOf(command).join(' ')}" ;;`;
  });
  return [
    `# bash completion of ${program}: source <(${program} completion bash)`,
    `_${program}() {`,
    '  local current=$' +
      '{COMP_WORDS[COMP_CWORD]} previous=$' +
      '{COMP_WORDS[COMP_CWORD-1]} command= position=0 at word words= flags= skip=',
    '  COMPREPLY=()',
    ...(files.size > 0
      ? [`  case $previous in ${[...files].join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;; esac`]
      : []),
    ...(valued.size > 0 ? [`  case $previous in ${[...valued].join('|')}) return ;; esac`] : []),
    '  for ((at = 1; at < COMP_CWORD; at++)); do',
    '    word=$' + '{COMP_WORDS[at]}',
    '    if [[ -n $skip ]]; then skip=; continue; fi',
    `    case $word in ${[...valued].join('|') || '--'}) skip=1 ;; -*) ;;`,
    '      *) if [[ -z $command ]]; then command=$word; else position=$((position + 1)); fi ;;',
    '    esac',
    '  done',
    '  case $command in',
    `    "") words="${commands.map((command) => command.name).join(' ')}" ;;`,
    ...cases,
    '  esac',
    '  if [[ $current == -* ]]; then words=$flags; fi',
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '}',
    `complete -F _${program} ${program}`,
  ];
}

/** In single quotes for zsh and fish; brackets and colons are zsh's own marks in option specifications. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function zsh({ program, commands }: CompletionShape): string[] {
  const plain = (text: string): string => text.replaceAll(/[[\]:\\]/g, (found) => `\\${found}`);
  const cases = commands.flatMap((command) => {
    const options = command.options.flatMap((option) =>
      option.flags.map((flag) => {
        const value = option.takesFile ? ':file:_files' : option.takesValue ? ':value:' : '';
        return quote(`${flag}[${plain(option.description)}]${value}`);
      }),
    );
    const words = command.choices.map((choices) =>
      quote(`:argument:${choices.length > 0 ? `(${choices.join(' ')})` : ''}`),
    );
    return [`    ${command.name}) _arguments ${[...options, ...words].join(' ')} ;;`];
  });
  return [
    `#compdef ${program}`,
    `# zsh completion of ${program}: ${program} completion zsh > a folder of $fpath, as _${program}`,
    `_${program}() {`,
    '  local -a commands',
    `  commands=(${commands.map((command) => quote(`${command.name}:${plain(command.summary)}`)).join(' ')})`,
    '  if ((CURRENT == 2)); then _describe command commands; return; fi',
    '  local command=$' + '{words[2]}',
    '  shift words; ((CURRENT--))',
    '  case $command in',
    ...cases,
    '  esac',
    '}',
    `if [[ $funcstack[1] == _${program} ]]; then _${program} "$@"; else compdef _${program} ${program}; fi`,
  ];
}

function fish({ program, commands }: CompletionShape): string[] {
  const names = commands.map((command) => command.name).join(' ');
  const first = `not __fish_seen_subcommand_from ${names}`;
  const lines = commands.flatMap((command) => {
    const seen = quote(`__fish_seen_subcommand_from ${command.name}`);
    const options = command.options.map((option) => {
      const flags = option.flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
      const value = option.takesFile ? ' -r -F' : option.takesValue ? ' -x' : '';
      return `complete -c ${program} -n ${seen} ${flags.join(' ')}${value} -d ${quote(option.description)}`;
    });
    const words = command.choices.flat();
    const choices = words.length > 0 ? [`complete -c ${program} -n ${seen} -a ${quote(words.join(' '))}`] : [];
    return [
      `complete -c ${program} -n ${quote(first)} -a ${command.name} -d ${quote(command.summary)}`,
      ...options,
      ...choices,
    ];
  });
  return [
    `# fish completion of ${program}: ${program} completion fish | source`,
    `complete -c ${program} -f`,
    ...lines,
  ];
}
