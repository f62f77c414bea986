import { mock } from 'node:test';
import t from 'tap';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { Redial } from '../../sdk/redial.js';

t.beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
t.afterEach(() => mock.timers.reset());

const away = () => new ShoalError('SHOAL_E_UNREACHABLE', 'the agent is away');

/** How many ms it waits before it dials, once it is told that the connection is lost. */
function waitMs(redial: Redial, dials: () => number): number {
  const before = dials();
  redial.later();
  for (let ms = 1; ms <= LIMITS.reconnectMsMax; ms += 1) {
    mock.timers.tick(1);
    if (dials() > before) return ms;
  }
  return Number.POSITIVE_INFINITY;
}

t.test('an agent that is away, or says nothing sensible, is dialled later and later', async (t) => {
  let dials = 0;
  const redial = new Redial(() => {
    dials += 1;
  });
  const waits = Array.from({ length: 8 }, () => {
    redial.connected();
    return waitMs(redial, () => dials);
  });
  t.same(waits, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
  redial.heard();
  t.equal(
    waitMs(redial, () => dials),
    50,
  );
});

t.test('who waits has it dialled at once, and is told when there is none in time', async (t) => {
  let dials = 0;
  const redial = new Redial(() => {
    dials += 1;
  });
  redial.later();
  const first = redial.untilConnected(300, away);
  t.equal(dials, 1);
  redial.connected();
  await first;
  const second = redial.untilConnected(300, away);
  t.equal(dials, 1, 'it is dialled already');
  const refused = t.rejects(second, { code: 'SHOAL_E_UNREACHABLE' });
  mock.timers.tick(300);
  await refused;
  redial.close();
  redial.later();
  mock.timers.tick(LIMITS.reconnectMsMax);
  t.equal(dials, 1, 'closed for good');
});
