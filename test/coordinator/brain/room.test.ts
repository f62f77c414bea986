import fc from 'fast-check';
import t from 'tap';
import { CPU_OVERCOMMIT } from '../../../coordinator/brain/allotted.js';
import {
  CLAIMS_MAX,
  makeRoom,
  type RoomClaim,
  type RoomHost,
  type RoomInstance,
} from '../../../coordinator/brain/room.js';

/** With CPU overcommitted as it is, a host of one core holds four of these. */
const ONE = { cpu: 1, memory: 1 };

function running(key: string, number: number, given: Partial<RoomInstance> = {}): RoomInstance {
  return { id: `app-${key}-${number}`, key, size: ONE, priority: 500, cpuMin: 1, draining: false, ...given };
}
function host(name: string, running: readonly RoomInstance[]): RoomHost {
  return { name, cores: running.length / CPU_OVERCOMMIT, memoryBytes: 100, running };
}
function claim(given: Partial<RoomClaim> = {}): RoomClaim {
  return { key: 'claimant', size: ONE, priority: 900, needed: false, isAllowed: () => true, ...given };
}
const SPARE = new Map(['low', 'mid', 'high', 'equal'].map((key) => [key, 9]));

t.test(
  'lower priorities are made smaller before anybody ends, the lowest first and no more than is needed',
  async (t) => {
    const low = { priority: 100, size: { cpu: 2, memory: 1 }, cpuMin: 1.5 };
    const mid = { priority: 300, size: { cpu: 2, memory: 1 }, cpuMin: 1 };
    const high = { priority: 900, size: { cpu: 2, memory: 1 }, cpuMin: 0.1 };
    const full: RoomHost = {
      ...host('h1', [running('mid', 1, mid), running('low', 2, low), running('high', 3, high), running('low', 1, low)]),
      cores: 8 / CPU_OVERCOMMIT,
    };
    const [room] = makeRoom([claim({ size: { cpu: 1.25, memory: 1 } })], [full], SPARE);
    t.equal(room?.kind, 'shrink');
    if (room?.kind !== 'shrink') return;
    t.same(
      [...room.cpu],
      [
        ['app-low-2', 1.5],
        ['app-low-1', 1.5],
        ['app-mid-1', 1.75],
      ],
      'the newest of the lowest first, each down to its smallest at most',
    );
  },
);

t.test('it is done on the host where it takes the least from others', async (t) => {
  const soft = { priority: 100, cpuMin: 0.1 };
  const fuller = host('h2', [running('low', 1, soft), running('low', 2, soft)]);
  const emptier = { ...host('h1', [running('low', 3, soft), running('low', 4, soft)]), cores: 2.5 / CPU_OVERCOMMIT };
  t.match(makeRoom([claim()], [fuller, emptier], new Map()), [{ kind: 'shrink', host: 'h1' }]);
});

t.test('where size does not help, instances end: the lowest priority, the newest of it, the fewest', async (t) => {
  const end = (hosts: RoomHost[], given: Partial<RoomClaim> = {}) => makeRoom([claim(given)], hosts, SPARE);
  const mixed = host('h1', [
    running('mid', 1, { priority: 300 }),
    running('low', 1, { priority: 100 }),
    running('low', 10, { priority: 100 }),
    running('low', 9, { priority: 100 }),
  ]);
  t.match(end([mixed]), [{ kind: 'end', host: 'h1', ids: ['app-low-10'] }]);
  t.match(end([mixed], { size: { cpu: 4, memory: 1 } }), [
    { ids: ['app-low-10', 'app-low-9', 'app-low-1', 'app-mid-1'] },
  ]);
  const middling = host('h0', [running('mid', 2, { priority: 300 })]);
  t.match(end([middling, mixed]), [{ host: 'h1' }], 'a host where only the lowest suffers');
  t.same(end([mixed], { size: { cpu: 5, memory: 1 } }), [], 'nobody ends for what has no room even so');
  t.same(end([mixed], { isAllowed: () => false }), [], 'nor on a host where it may not run');
});

t.test(
  'a minimum gives way to a higher minimum only; of the same priority what is above it, to a minimum',
  async (t) => {
    const ends = (priority: number, needed: boolean, spare: number) => {
      const one = host('h1', [running('other', 1, { priority })]);
      return makeRoom([claim({ priority: 500, needed })], [one], new Map([['other', spare]])).length > 0;
    };
    t.ok(ends(400, false, 1), 'lower, above its minimum');
    t.notOk(ends(400, false, 0), 'lower, at its minimum');
    t.ok(ends(400, true, 0), 'lower, at its minimum, for a minimum');
    t.ok(ends(500, true, 1), 'the same, above its minimum, for a minimum');
    t.notOk(ends(500, true, 0), 'the same, at its minimum');
    t.notOk(ends(500, false, 1), 'the same, for what is no minimum');
    t.notOk(ends(600, true, 9), 'higher');
  },
);

t.test(
  'what ends already is waited for; the more urgent claims first, a host serves one claim in a turn',
  async (t) => {
    const leaving = host('h1', [running('low', 1, { priority: 100, draining: true })]);
    t.same(makeRoom([claim()], [leaving], SPARE), []);
    const hosts = [1, 2, 3].map((n) => host(`h${n}`, [running('low', n, { priority: 100 })]));
    const claims = [
      claim({ key: 'c', priority: 600 }),
      claim({ key: 'b', priority: 700 }),
      claim({ key: 'd', priority: 800 }),
      claim({ key: 'a', priority: 700, needed: true }),
    ];
    t.same(
      makeRoom(claims, hosts, SPARE).map((room) => room.claim.key),
      ['d', 'a', 'b'],
    );
    const many = Array.from({ length: 2 * CLAIMS_MAX }, (_, n) =>
      host(`h${n}`, [running('low', n, { priority: 100 })]),
    );
    const asks = many.map((_, n) => claim({ key: `k${n}` }));
    t.equal(makeRoom(asks, many, new Map([['low', 99]])).length, CLAIMS_MAX, 'a bounded number in a turn');
  },
);

interface Kind {
  priority: number;
  min: number;
  wanted: number;
}

/** Components on one host that holds `places` of their instances, each turn as reconcile does it. */
class FullHost {
  readonly #running: RoomInstance[] = [];
  #created = 0;

  constructor(
    private readonly kinds: readonly Kind[],
    private readonly places: number,
  ) {}

  counts(): number[] {
    return this.kinds.map((_, n) => this.#running.filter(({ key }) => key === `c${n}`).length);
  }

  /** Answers whether anything has changed. */
  turn(): boolean {
    const before = this.#created;
    const waiting: RoomClaim[] = [];
    const urgent = this.kinds.map((kind, n) => ({ ...kind, key: `c${n}`, n })).sort((a, b) => b.priority - a.priority);
    for (const needed of [true, false]) {
      for (const { priority, min, wanted, key, n } of urgent) {
        const most = needed ? Math.min(min, wanted) : wanted;
        for (let count = this.counts()[n] ?? 0; count < most; count += 1) {
          if (this.#running.length >= this.places) {
            waiting.push(claim({ key, priority, needed }));
            break;
          }
          this.#created += 1;
          this.#running.push(running(key, this.#created, { priority }));
        }
      }
    }
    const full = { ...host('h1', this.#running), cores: this.places / CPU_OVERCOMMIT };
    const surplus = new Map(this.counts().map((count, n) => [`c${n}`, count - (this.kinds[n]?.min ?? 0)]));
    const rooms = makeRoom(waiting, [full], surplus);
    for (const room of rooms) {
      for (const id of room.kind === 'end' ? room.ids : []) {
        this.#running.splice(
          this.#running.findIndex((each) => each.id === id),
          1,
        );
      }
    }
    return this.#created > before || rooms.length > 0;
  }
}

t.test('it comes to rest, with the higher priority served first', async () => {
  const kind = fc
    .record({ priority: fc.constantFrom(100, 500, 900), min: fc.nat(3), above: fc.nat(4) })
    .map(({ priority, min, above }): Kind => ({ priority, min, wanted: min + above }));
  fc.assert(
    fc.property(fc.array(kind, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 8 }), (kinds, places) => {
      const full = new FullHost(kinds, places);
      for (let turn = 0; turn < 100; turn += 1) if (!full.turn()) break;
      const counts = full.counts();
      const atRest = !full.turn();
      const short = kinds.filter((each, n) => (counts[n] ?? 0) < Math.min(each.min, each.wanted));
      // Whoever lacks its minimum: of the same or a lower priority nobody has more than his own, and no lower one has any.
      const fair = short.every((needy) =>
        kinds.every((each, n) => each.priority > needy.priority || (counts[n] ?? 0) <= each.min),
      );
      const served = short.every((needy) =>
        kinds.every((each, n) => each.priority >= needy.priority || (counts[n] ?? 0) === 0),
      );
      return atRest && fair && served;
    }),
    { numRuns: 300 },
  );
});
