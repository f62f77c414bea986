import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ETCD_FLAGS, type StoreSettings } from '../../coordinator/store/flags.js';
import { ShoalError } from '../../protocol/errors.js';
import { type Io, printJson, printLines } from '../io.js';
import { examples, type GlobalOptions } from '../session.js';

interface Options extends GlobalOptions, StoreSettings {
  replace?: boolean;
}

const MEMBERS = 'http://10.0.0.1:2379,http://10.0.0.2:2379,http://10.0.0.3:2379';
const EXAMPLES = examples([[`shoal store move --etcd ${MEMBERS}`, 'once, while no coordinator runs']]);

export function addStore(program: Command, io: Io): void {
  const store = program
    .command('store')
    .summary('move the embedded store to etcd')
    .description("Look after the coordinator's store itself. Works without a coordinator.")
    .addHelpText('after', EXAMPLES);
  const move = store
    .command('move')
    .summary('bring what the embedded store holds to etcd')
    .description(
      'Bring all that the embedded store of this host holds to etcd, for coordinators on several hosts. Stop the coordinator before; afterwards start it with the same --etcd options. The embedded store is kept, and can no longer be used by a coordinator.',
    )
    .option('--data <dir>', 'the embedded store', '/var/lib/shoal')
    .option('--replace', 'remove what etcd holds under the prefix');
  addEtcdOptions(move);
  move.addHelpText('after', EXAMPLES).action(async (_options: unknown, command: Command) => {
    const { json = false, replace = false, ...settings } = command.optsWithGlobals<Options>();
    if (settings.etcd === undefined) throw new ShoalError('SHOAL_E_USAGE', 'say where to with --etcd URL,…');
    const { openEtcdStore } = await import('../../coordinator/store/open.js');
    const { openLmdbStore } = await import('../../coordinator/store/lmdb-store.js');
    const { moveStore } = await import('../../coordinator/store/move.js');
    const from = openLmdbStore({ folder: resolve(settings.data) });
    const to = openEtcdStore(settings);
    try {
      const moved = await moveStore(from, to, replace);
      if (json) printJson(io, moved);
      else printLines(io, [`moved ${moved.keys} keys; now start the coordinators with the same --etcd options`]);
    } finally {
      await Promise.all([from.close(), to.close()]);
    }
  });
}

/** The options that say which etcd. */
export function addEtcdOptions(command: Command): void {
  for (const [name, value, what] of ETCD_FLAGS) command.option(`--${name} <${value.toLowerCase()}>`, what);
}
