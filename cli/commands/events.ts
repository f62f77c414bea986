import type { Command } from 'commander';
import type { EventView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { followEvents } from '../follow.js';
import { printJson, printJsonLine, printLines } from '../io.js';
import { clean } from '../render/text.js';
import { eventLine } from '../render/top.js';
import { examples, type OpenSession } from '../session.js';

interface Options {
  follow?: boolean;
  app?: string;
}

export function addEvents(program: Command, open: OpenSession): void {
  program
    .command('events')
    .summary('what happened, and what happens')
    .description('Print the last events of the cluster: instances started, resized, stopped, hosts that came and went.')
    .option('-f, --follow', 'go on with new events until interrupted')
    .option('--app <app>', 'only events of this app')
    .addHelpText(
      'after',
      examples([
        ['shoal events', 'the last events'],
        ['shoal events -f --app search', 'those of one app, as they happen'],
        ['shoal events -f --json', 'one JSON document on each line'],
      ]),
    )
    .action(async ({ follow = false, app }: Options, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const wanted = (event: EventView): boolean => app === undefined || event.app === app;
      const past = await client.list<EventView>(`${apiPath('events')}?after=0`, { signal });
      const shown = past.filter(wanted);
      if (json && !follow) return printJson(io, shown);
      const print = (event: EventView): void => (json ? printJsonLine(io, event) : printLines(io, [eventLine(event)]));
      shown.forEach(print);
      if (!follow) return;
      const onLost = (error: Error): void => io.err(`${clean(error.message)}; trying again\n`);
      for await (const event of followEvents(client, { signal, after: past.at(-1)?.id ?? 0, onLost })) {
        if (wanted(event)) print(event);
      }
    });
}
