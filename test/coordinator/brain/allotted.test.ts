import fc from 'fast-check';
import t from 'tap';
import { allottedBy } from '../../../coordinator/brain/allotted.js';
import { InstanceDraft, type InstanceRecord, NO_INSTANCES } from '../../../coordinator/instance-table.js';

const record = fc
  .record({
    number: fc.integer({ min: 0, max: 8 }),
    cpu: fc.double({ min: 0.01, max: 8, noNaN: true }),
    memory: fc.integer({ min: 1, max: 2 ** 36 }),
    exclusive: fc.boolean(),
  })
  .map(({ number, cpu, memory, exclusive }): InstanceRecord => {
    const made = { generation: 1, createdAtMs: 0, createdRevision: 1, exclusive };
    return { id: `x-a-${number}`, app: 'x', component: 'a', host: `h${number % 2}`, size: { cpu, memory }, ...made };
  });
const deed = fc.record({ kind: fc.constantFrom('put' as const, 'remove' as const), record });

t.test('what a host has allotted is known however its instances came, went and changed', async () => {
  fc.assert(
    fc.property(fc.array(fc.array(deed, { maxLength: 6 }), { maxLength: 8 }), (ticks) => {
      let table = NO_INSTANCES;
      for (const deeds of ticks) {
        const draft = new InstanceDraft(table);
        for (const each of deeds) {
          if (each.kind === 'put') draft.put(each.record);
          else draft.remove(each.record);
          const there = draft.onHost(each.record.host);
          // Another array of the same instances is one that nothing is known of.
          t.strictSame(allottedBy(there), allottedBy([...there]));
        }
        const before = [...table.byHost].map(([, group]) => [{ ...allottedBy(group) }, group] as const);
        table = draft.finish();
        for (const [sum, group] of before) t.strictSame(allottedBy([...group]), sum, 'the table before is as it was');
      }
    }),
  );
});
