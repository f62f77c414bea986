import t from 'tap';
import { OwnedEntries } from '../../../sdk/replicated/owned-entries.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';
import { TestSegment } from '../state/memory.js';

const LIMIT = { shardBytesMax: 64 * 1024, valueBytesMax: 32 * 1024 };
const set = (value: string) => ({ type: 'set' as const, state: 's', key: 'k', value: Buffer.from(value) });

/** An owner over a segment, whose epoch is of that file alone. */
function own(memory: TestSegment, segmentEpoch: number): OwnedEntries {
  const log = new ShardLog(memory, 'state shard 0', LIMIT);
  log.own(segmentEpoch);
  return new OwnedEntries({ log: () => log });
}

t.test('each owner of a log comes after the ones before, on whatever host its copy lies', async (t) => {
  const memory = TestSegment.make(LIMIT.shardBytesMax);
  const first = own(memory, 7);
  first.write(set('a'));
  const { epoch, index } = first.position;
  t.same(first.position, { epoch, index }, 'as long as it owns it, it is the same');
  // Another file, whose epochs begin anew, holds the same log.
  const second = own(memory, 8);
  t.ok(second.position.epoch > epoch);
  t.ok(second.position.index > index);
  t.equal(Buffer.from([...second.source.entries()].find(([state]) => state === 's')?.[2] ?? []).toString(), 'a');
});

t.test('the owner of a log that began anew comes after all that its replicas have seen', async (t) => {
  const owner = own(TestSegment.make(LIMIT.shardBytesMax), 1);
  const seen = owner.position.epoch + 3_600_000;
  owner.reignAfter(seen);
  t.ok(owner.position.epoch > seen);
  const { position } = owner.write(set('b'));
  t.equal(position.epoch, owner.position.epoch);
});
