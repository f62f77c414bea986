import type { Command } from 'commander';
import type { ForecastView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { renderForecast } from '../render/forecast.js';
import { examples, type OpenSession, parseComponentName, parseWhole } from '../session.js';

const HORIZON_SECONDS_DEFAULT = '60';

export function addForecast(program: Command, open: OpenSession): void {
  program
    .command('forecast')
    .summary('what a component is about to need')
    .description('Print the predicted demand of a component, in cores, with the interval it is expected in.')
    .argument('<component>', 'APP/COMPONENT')
    .option('--horizon <seconds>', `how far to look, at most ${LIMITS.forecastSecondsMax}`, HORIZON_SECONDS_DEFAULT)
    .addHelpText(
      'after',
      examples([
        ['shoal forecast search/web', 'the next minute'],
        ['shoal forecast search/web --horizon 3600 --json', 'the next hour, for a program to read'],
      ]),
    )
    .action(async (name: string, { horizon }: { horizon: string }, command: Command) => {
      const { app, component } = parseComponentName(name);
      const seconds = parseWhole(horizon, '--horizon', 1, LIMITS.forecastSecondsMax);
      const { client, signal, json, io } = await open(command);
      const path = `${apiPath('apps', app, 'components', component, 'forecast')}?horizon=${seconds}`;
      const view = await client.json<ForecastView>('GET', path, { signal });
      if (json) printJson(io, view);
      else printLines(io, renderForecast(`${app}/${component}`, view, io.size().width, io.paint));
    });
}
