import { runCli } from '../cli/run-cli.js';

/** Makes a token in the file as an operator does, by the command. */
export async function createToken(file: string, name: string, role: string): Promise<string> {
  return (await runCli(['token', 'create', name, '--role', role, '--tokens', file])).out.trim();
}
