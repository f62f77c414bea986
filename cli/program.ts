import { Command, Option } from 'commander';
import { addApply } from './commands/apply.js';
import { addBuild, addBuilds } from './commands/build.js';
import { addCalendar } from './commands/calendar.js';
import { addCompletion } from './commands/completion.js';
import { addDelete } from './commands/delete.js';
import { addDescribe } from './commands/describe.js';
import { addDoctor } from './commands/doctor.js';
import { addEvents } from './commands/events.js';
import { addExec } from './commands/exec.js';
import { addExplain } from './commands/explain.js';
import { addForecast } from './commands/forecast.js';
import { addGet, addPs } from './commands/get.js';
import { addHelp } from './commands/help.js';
import { addHost } from './commands/host.js';
import { addIdentity } from './commands/identity.js';
import { addJoin } from './commands/join.js';
import { addLogs } from './commands/logs.js';
import { addMode } from './commands/mode.js';
import { addPause, addResume } from './commands/pause.js';
import { addProfile } from './commands/profile.js';
import { addScale } from './commands/scale.js';
import { addSecret } from './commands/secret.js';
import { addSimulate } from './commands/simulate.js';
import { addState } from './commands/state.js';
import { addStore } from './commands/store.js';
import { addToken } from './commands/token.js';
import { addTop } from './commands/top.js';
import { addUp } from './commands/up.js';
import { addVersion } from './commands/version.js';
import type { Io } from './io.js';
import { examples, SERVER_DEFAULT, sessionOpener } from './session.js';

/** The whole command. Parsing it runs the action; every failure is thrown, nothing here ends the process. */
export function createProgram(io: Io, signal: AbortSignal): Command {
  const program = new Command('shoal')
    .description('Give each component of an app the instances and sizes it is about to need.')
    .addOption(new Option('--json', 'answer in JSON: results on standard output, errors on standard error'))
    .addOption(
      new Option('--server <url>', 'address of the coordinator').default(
        env(io, 'SHOAL_SERVER') ?? SERVER_DEFAULT,
        `$SHOAL_SERVER or ${SERVER_DEFAULT}`,
      ),
    )
    .addOption(
      new Option('--token-file <file>', 'file that holds the bearer token').default(
        env(io, 'SHOAL_TOKEN_FILE'),
        '$SHOAL_TOKEN_FILE',
      ),
    )
    .addOption(
      new Option('--ca <file>', "certificate of the cluster's authority, by which coordinators are known").default(
        env(io, 'SHOAL_CA'),
        '$SHOAL_CA',
      ),
    )
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: io.out,
      // Errors are told in one place, in the form that --json asks for.
      writeErr: () => undefined,
      getOutHelpWidth: () => io.size().width,
      getErrHelpWidth: () => io.size().width,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      `${examples([
        ['shoal up', 'run Shoal on this host'],
        ['shoal apply -f shoal.yaml --wait', 'run an app'],
        ['shoal top', 'watch it'],
      ])}\n\n\`shoal help exit-codes\` lists the exit codes.`,
    );
  const open = sessionOpener(io, signal);
  const adders = [
    addApply,
    addGet,
    addPs,
    addTop,
    addDescribe,
    addState,
    addExplain,
    addProfile,
    addScale,
    addMode,
    addPause,
    addResume,
    addCalendar,
    addHost,
    addBuild,
    addBuilds,
    addLogs,
    addExec,
    addEvents,
  ];
  addUp(program, io, signal);
  addSecret(program, open);
  for (const add of [...adders, addForecast, addDelete, addVersion]) add(program, open);
  addSimulate(program, io);
  addStore(program, io);
  addIdentity(program, io, open);
  addToken(program, io, open);
  addJoin(program, io, signal);
  addDoctor(program, io);
  addCompletion(program, io);
  addHelp(program, io);
  return program;
}

/** An empty variable is as good as none. */
function env(io: Io, name: string): string | undefined {
  return io.env[name] || undefined;
}
