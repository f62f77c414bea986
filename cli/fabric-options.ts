import type { Command } from 'commander';
import { ShoalError } from '../protocol/errors.js';

export interface FabricOptions {
  fabric?: string;
  fabricPlain?: boolean;
}

/** Options of a command that say how this host's agent is reached by those of others. */
export function addFabricOptions(command: Command): void {
  command
    .option('--fabric <address:port>', 'where agents of other hosts reach this one, for calls between hosts')
    .option(
      '--fabric-plain',
      'calls between hosts need not be encrypted, and may go by RDMA, which nothing here encrypts',
    );
}

/** Words for the agent, which looks at them further. They go into a file that a shell-like reader splits, too. */
export function fabricArguments({ fabric, fabricPlain = false }: FabricOptions): string[] {
  if (fabric !== undefined && !/^(?:\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$/.test(fabric)) {
    throw new ShoalError('SHOAL_E_USAGE', `--fabric must be ADDRESS:PORT, an IP address of this host, not ${fabric}`);
  }
  return [...(fabric === undefined ? [] : ['--fabric', fabric]), ...(fabricPlain ? ['--fabric-plain'] : [])];
}
