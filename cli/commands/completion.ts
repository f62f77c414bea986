import { Argument, type Command, type Option } from 'commander';
import { type Io, printJson, printLines } from '../io.js';
import { type CommandShape, type CompletionShape, renderCompletion, SHELLS, type Shell } from '../render/completion.js';
import { examples, type GlobalOptions } from '../session.js';

export function addCompletion(program: Command, io: Io): void {
  program
    .command('completion')
    .summary('completion script for a shell')
    .description('Print a script that lets the shell complete this command. It is made from the commands themselves.')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText(
      'after',
      examples([
        ['source <(shoal completion bash)', 'for this session of bash'],
        ['shoal completion fish | source', 'for this session of fish'],
        ['shoal completion zsh > "$fpath[1]/_shoal"', 'for zsh, from its next start'],
      ]),
    )
    .action((shell: Shell, _options: unknown, command: Command) => {
      const lines = renderCompletion(shell, shapeOf(program));
      if (command.optsWithGlobals<GlobalOptions>().json) printJson(io, { shell, script: `${lines.join('\n')}\n` });
      else printLines(io, lines);
    });
}

/** The commander tree as plain data. */
export function shapeOf(program: Command): CompletionShape {
  const names = program.commands.map((command) => command.name());
  return {
    program: program.name(),
    commands: program.commands.map((command): CommandShape => {
      const choices = command.registeredArguments.map((argument) => argument.argChoices ?? []);
      return {
        name: command.name(),
        summary: command.summary(),
        options: [...command.options, ...program.options].map(optionShape),
        choices: command.name() === 'help' ? [[...names, 'exit-codes']] : choices,
      };
    }),
  };
}

function optionShape(option: Option): CommandShape['options'][number] {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined);
  // An optional value must be joined by = or be the next word; neither is worth guessing at.
  return {
    flags,
    takesValue: option.required,
    takesFile: /<(file|dir)>/.test(option.flags),
    description: option.description,
  };
}
