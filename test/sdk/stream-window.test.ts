import fc from 'fast-check';
import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { StreamMemory } from '../../sdk/stream-memory.js';
import { itemCost, ReceiveWindow, SendWindow } from '../../sdk/stream-window.js';

const WINDOW: number = LIMITS.streamWindowBytes;

/** A stream between two ends, with messages that are under way as long as it pleases the test. */
class Wire {
  readonly items: number[] = [];
  readonly credits: number[] = [];
  readonly unread: number[] = [];
  sent = 0;
  read = 0;
  readonly writer: SendWindow;
  readonly reader: ReceiveWindow;

  constructor(granted: number) {
    this.writer = new SendWindow(granted);
    this.reader = new ReceiveWindow(granted);
    if (!this.reader.opened) this.credits.push(this.reader.open(WINDOW));
  }

  /** Whether there was anything to do. */
  step(what: 'send' | 'arrive' | 'read' | 'credit', size: number): boolean {
    if (what === 'send') {
      if (!this.writer.open) return false;
      this.writer.sent(size);
      this.items.push(size);
      this.sent += 1;
      return true;
    }
    const from = { arrive: this.items, read: this.unread, credit: this.credits }[what];
    const value = from.shift();
    if (value === undefined) return false;
    if (what === 'credit') this.writer.credited(value);
    else if (what === 'arrive') {
      this.reader.arrived(value);
      this.unread.push(value);
    } else {
      const credit = this.reader.read(value);
      if (credit > 0) this.credits.push(credit);
      this.read += 1;
    }
    return true;
  }

  /** What the two sides and the way between them hold. */
  get held(): number {
    return [...this.items, ...this.unread].reduce((sum, size) => sum + itemCost(size), 0);
  }
}

const granted = fc.constantFrom(0, WINDOW);
const size = fc.oneof(fc.nat(200), fc.nat(WINDOW), fc.nat(3 * WINDOW));
const step = fc.tuple(fc.constantFrom('send' as const, 'arrive' as const, 'read' as const, 'credit' as const), size);

t.test('whatever the order of sending, arriving and reading, no more is held than the window and one item', (t) => {
  fc.assert(
    fc.property(granted, fc.array(step, { maxLength: 400 }), (granted, steps) => {
      const wire = new Wire(granted);
      let largest = 0;
      for (const [what, size] of steps) {
        if (wire.step(what, size) && what === 'send') largest = Math.max(largest, itemCost(size));
        if (wire.held > WINDOW + largest) return false;
      }
      return true;
    }),
  );
  t.end();
});

t.test('a stream whose reader reads never comes to a halt', (t) => {
  fc.assert(
    fc.property(granted, fc.array(step, { maxLength: 200 }), size, (granted, steps, size) => {
      const wire = new Wire(granted);
      for (const [what, size] of steps) wire.step(what, size);
      for (let more = true; more; ) more = ['arrive', 'read', 'credit'].some((what) => wire.step(what as 'read', 0));
      return wire.read === wire.sent && wire.step('send', size);
    }),
  );
  t.end();
});

t.test('an end that breaks the rules is told so', (t) => {
  const reader = new ReceiveWindow(0);
  t.throws(() => reader.arrived(1), { code: 'SHOAL_E_FRAME' }, 'an item without credit');
  t.equal(reader.open(WINDOW), WINDOW);
  reader.arrived(2 * WINDOW);
  t.throws(() => reader.arrived(1), { code: 'SHOAL_E_FRAME' }, 'an item beyond the credit');
  t.ok(reader.opened, 'the first credit is given once');
  const writer = new SendWindow(WINDOW);
  t.throws(() => writer.credited(1), { code: 'SHOAL_E_FRAME' }, 'more credit than a window');
  writer.sent(WINDOW);
  t.throws(() => writer.sent(1), { code: 'SHOAL_E_INTERNAL' }, 'a writer without credit does not send');
  t.end();
});

t.test('a smaller window is given back by its own quarters', (t) => {
  const reader = new ReceiveWindow(0);
  t.equal(reader.open(8_192), 8_192);
  reader.arrived(1_000);
  t.equal(reader.read(1_000), 0);
  reader.arrived(1_000);
  t.equal(reader.read(1_000), 2 * itemCost(1_000));
  t.end();
});

t.test('streams of one caller share a bounded memory, and none is left without', (t) => {
  const memory = new StreamMemory();
  const windows = Array.from({ length: LIMITS.callsOutstandingPerPeerMax }, () => memory.reserve());
  t.equal(windows[0], WINDOW, 'few streams have whole windows');
  t.equal(Math.min(...windows), LIMITS.streamWindowBytesMin);
  const least = windows.length * LIMITS.streamWindowBytesMin;
  t.ok(memory.use.reserved <= LIMITS.streamsOfCallerBytes + least, `${memory.use.reserved} bytes for all`);
  for (const window of windows) memory.giveBack(window);
  t.equal(memory.reserve(), WINDOW, 'when they have ended the next has a whole one again');

  t.ok(memory.hold(LIMITS.streamsOfCallerHeldBytesMax - 1));
  t.notOk(memory.hold(2), 'what is too much is refused, and not counted');
  t.ok(memory.hold(1));
  memory.release(1_000);
  t.ok(memory.hold(1_000));
  t.end();
});
