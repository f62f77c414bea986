/** A process that writes to a segment without an end, and says on its standard output what was acknowledged. */
import { openSync, writeSync } from 'node:fs';
import { native } from '../../../native/index.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';
import { KILL_KEYS, KILL_LIMITS, killValue } from './kill-plan.js';

const [path = '', epoch = '', from = ''] = process.argv.slice(2);
const log = new ShardLog(native.openSharedFile(openSync(path, 'r+')), 'state shard 0', KILL_LIMITS);
log.own(Number(epoch));
const name = stateName('n');
for (let n = Number(from); ; n += 1) {
  const key = `k-${n % KILL_KEYS}`;
  if (n % 5 === 4) log.delete(name, key);
  else log.put(name, key, killValue(n));
  say(`${n}\n`);
}

/** Before the next record is written. Node gives its children sockets that do not block: a full one is tried again. */
function say(line: string): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}
