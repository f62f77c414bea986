import { native } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { Meter } from './meter.js';
import { type RingBroker, RingCarrier } from './ring-carrier.js';
import { Router } from './router.js';
import { CallServer } from './server.js';
import { ShardStore } from './shard-store.js';

const NAME = 'rehearsal';
const SPIN_MS = 0;

/** Has this process call itself so many times, each time over a new ring, as its first callers will. */
export async function rehearseCalls(times: number): Promise<void> {
  const server = new CallServer(new ShardStore(), cannot, new Meter());
  server.handle(NAME, (body) => body);
  const callee: RingBroker = { open: cannot, onOffer: undefined, closed() {} };
  const caller: RingBroker = {
    open: async () => {
      const [ours, theirs] = native.createChannel(LIMITS.ringBytes);
      callee.onOffer?.({ channel: 0, component: NAME, instance: NAME, fds: theirs });
      return ours;
    },
    onOffer: undefined,
    closed() {},
  };
  await new RingCarrier(callee, SPIN_MS).listen((channel) => server.accept(channel));
  const carrier = new RingCarrier(caller, SPIN_MS);
  for (let time = 0; time < times; time += 1) {
    const router = new Router(carrier, Math.random, () => {});
    router.update({ [NAME]: { instances: [NAME] } });
    await router.call(NAME, NAME, NAME, {});
    router.close();
  }
}

function cannot(): never {
  throw new ShoalError('SHOAL_E_INTERNAL', 'a rehearsal has neither state nor other instances');
}
