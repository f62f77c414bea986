import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { ForecastView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { forecastFile } from '../offline/forecast-file.js';
import { renderForecast } from '../render/forecast.js';
import { renderOfflineForecast } from '../render/offline-forecast.js';
import { examples, type OpenSession, parseComponentName, parseWhole } from '../session.js';

const HORIZON_SECONDS_DEFAULT = '60';
const HORIZON_STEPS_MAX = 10_000;
const SEASON_STEPS_MAX = 10_000;
const LEVELS_MAX = 5;

interface Options {
  horizon?: string;
  file?: string;
  season: string;
  level: string;
}

export function addForecast(program: Command, open: OpenSession): void {
  program
    .command('forecast')
    .summary('what a component is about to need, or how a file of values goes on')
    .description(
      'Print the predicted demand of a component, in cores, with the interval it is expected in; with --file, how the series of a CSV file go on, which needs no coordinator.',
    )
    .argument('[component]', 'APP/COMPONENT')
    .option(
      '--horizon <n>',
      `how far to look: seconds, at most ${LIMITS.forecastSecondsMax} (default: ${HORIZON_SECONDS_DEFAULT}); with --file, steps`,
    )
    .option('--file <file>', 'rows time,value, or one series a row as id,v1,v2,…; - reads standard input')
    .option('--season <lengths>', 'with --file: season lengths in steps, such as 24,168; auto or none', 'auto')
    .option('--level <percents>', 'with --file: how many of the values each interval shall hold', '80,95')
    .addHelpText(
      'after',
      examples([
        ['shoal forecast search/web', 'the next minute'],
        ['shoal forecast search/web --horizon 3600 --json', 'the next hour, for a program to read'],
        ['shoal forecast --file requests.csv --horizon 48', 'the next 48 steps of a file'],
      ]),
    )
    .action(async (name: string | undefined, options: Options, command: Command) => {
      if (options.file !== undefined) {
        if (name !== undefined) throw new ShoalError('SHOAL_E_USAGE', 'give a component or --file, not both');
        const { io, json, signal } = await open(command);
        if (options.horizon === undefined) {
          throw new ShoalError('SHOAL_E_USAGE', 'say by --horizon how many steps to forecast, such as --horizon 48');
        }
        const steps = parseWhole(options.horizon, '--horizon', 1, HORIZON_STEPS_MAX);
        const seasons = parseSeasons(options.season);
        const levels = parseLevels(options.level);
        const forecasts = await forecastFile(options.file, steps, { seasons, levels, signal });
        if (json) printJson(io, { series: forecasts });
        else for (const each of forecasts) printLines(io, renderOfflineForecast(each, io.size().width, io.paint));
        return;
      }
      if (name === undefined) {
        throw new ShoalError('SHOAL_E_USAGE', 'say what to forecast: APP/COMPONENT, or --file FILE');
      }
      const { app, component } = parseComponentName(name);
      const seconds = parseWhole(options.horizon ?? HORIZON_SECONDS_DEFAULT, '--horizon', 1, LIMITS.forecastSecondsMax);
      const { client, signal, json, io } = await open(command);
      const path = `${apiPath('apps', app, 'components', component, 'forecast')}?horizon=${seconds}`;
      const view = await client.json<ForecastView>('GET', path, { signal });
      if (json) printJson(io, view);
      else printLines(io, renderForecast(`${app}/${component}`, view, io.size().width, io.paint));
    });
}

/** Null: to be found. */
function parseSeasons(text: string): number[] | null {
  if (text === 'auto') return null;
  if (text === 'none') return [];
  const lengths = text.split(',').map((part) => parseWhole(part.trim(), '--season', 2, SEASON_STEPS_MAX));
  const rising = lengths.every((length, i) => length > (lengths[i - 1] ?? 0));
  if (lengths.length > 2 || !rising) {
    throw new ShoalError('SHOAL_E_USAGE', `--season takes one or two lengths, the shortest first, not "${text}"`);
  }
  return lengths;
}

/** Shares, the lowest first. */
function parseLevels(text: string): number[] {
  const percents = text.split(',').map((part) => Number(part.trim() || Number.NaN));
  // Below 1 somebody means a share.
  if (percents.length > LEVELS_MAX || !percents.every((percent) => percent >= 1 && percent < 100)) {
    const wanted = `at most ${LEVELS_MAX} percentages from 1 to below 100`;
    throw new ShoalError('SHOAL_E_USAGE', `--level takes ${wanted}, such as 80,95, not "${text}"`);
  }
  return [...new Set(percents)].map((percent) => percent / 100).toSorted((a, b) => a - b);
}
