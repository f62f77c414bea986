import t from 'tap';
import type { FabricRequest } from '../../protocol/control.js';
import type { Carrier, Channel } from '../../sdk/carrier.js';
import { Deadlines } from '../../sdk/deadlines.js';
import { type OutgoingCall, Peer } from '../../sdk/peer.js';

const CALL: OutgoingCall = {
  handler: 'h',
  body: null,
  key: undefined,
  shards: undefined,
  moved: false,
  sinceMs: 0,
  untilMs: Number.POSITIVE_INFINITY,
  endless: true,
  signal: undefined,
  answer: undefined,
  input: undefined,
};

/** A channel to an instance that answers each call; or one that was lost before anybody had it. */
function channelOf(isLost: boolean): Channel {
  return {
    kind: 'ring',
    queuedBytes: 0,
    untilRoom: () => undefined,
    onMessage: () => {},
    set onClose(closed: (why: string) => void) {
      if (isLost) closed('it ended');
    },
    send(message) {
      const { id } = message as Extract<FabricRequest, { type: 'call' }>;
      this.onMessage({ type: 'result', id, body: 'done', outstanding: 0 });
    },
    close() {},
  };
}

t.test('a channel that was lost as it came is not used again', async (t) => {
  let dials = 0;
  const carrier: Carrier = {
    listen: () => Promise.reject(new Error('nobody listens here')),
    dial: async () => {
      dials += 1;
      return channelOf(dials === 1);
    },
  };
  const peer = new Peer(carrier, { component: 'c', instance: 'a-c-0' }, new Deadlines());
  await t.rejects(peer.call(CALL), { code: 'SHOAL_E_NO_INSTANCE' });
  t.equal(await peer.call(CALL), 'done', 'the next call dials anew');
  t.equal(dials, 2);
});
