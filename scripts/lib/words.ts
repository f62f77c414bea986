import { type ParseArgsConfig, parseArgs } from 'node:util';

/** What a script is asked by its words, as parseArgs() says. For words that it does not know the process ends: see refuse. */
export function readWords<T extends ParseArgsConfig>(usage: string, config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    return refuse(usage, (error as Error).message);
  }
}

/** Says what is wrong and how the script is used, and ends it with exit code 2. */
export function refuse(usage: string, why: string): never {
  process.stderr.write(`${why}\n${usage}\n`);
  process.exit(2);
}

/** The number that an option says, from `least` to `most`; else see refuse. */
export function wholeNumber(usage: string, option: string, text: string, least: number, most: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  return refuse(usage, `${option} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`);
}
