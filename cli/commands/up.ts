import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { Io } from '../io.js';
import { examples, type GlobalOptions } from '../session.js';
import { runUp } from '../up/run.js';

interface Options extends GlobalOptions {
  data: string;
  run: string;
  listen: string;
  name: string;
  down?: boolean;
}

export function addUp(program: Command, io: Io, signal: AbortSignal): void {
  program
    .command('up')
    .summary('run Shoal on this host')
    .description(
      'Run coordinator and agent on this host, in the foreground, until interrupted. Instances go on when it ends, and are found again by the next `shoal up`, unless --down is given. With --token-file the API asks for the token in that file.',
    )
    .option('--data <dir>', "the coordinator's store", '/var/lib/shoal')
    .option('--run <dir>', 'state of this host: sockets and instances', '/run/shoal')
    .option('--listen <host:port>', 'address of the API', '127.0.0.1:7946')
    .option('--name <name>', 'name of this host', hostname())
    .option('--down', 'stop the instances too when it ends')
    .addHelpText(
      'after',
      examples([
        ['shoal up', 'run until Ctrl-C'],
        ['shoal up --down --data /tmp/d --run /run/try', 'a trial that leaves nothing running'],
        ['shoal up --token-file /etc/shoal/token', 'an API that needs a token'],
      ]),
    )
    .action(async (_options: unknown, command: Command) => {
      const { data, run, listen, name, down = false, json = false, tokenFile } = command.optsWithGlobals<Options>();
      await runUp({
        io,
        signal,
        json,
        data: resolve(data),
        run: resolve(run),
        listen,
        name,
        down,
        ...(tokenFile === undefined ? {} : { tokenFile: resolve(tokenFile) }),
        scripts: {
          coordinator: fileURLToPath(new URL('../../coordinator/main.js', import.meta.url)),
          agent: fileURLToPath(new URL('../../agent/main.js', import.meta.url)),
        },
      });
    });
}
