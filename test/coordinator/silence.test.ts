import t from 'tap';
import { beatText, Silence } from '../../coordinator/store/etcd/silence.js';

const beat = (text: string, modified: number) => ({ value: Buffer.from(text), modified });

t.test('a leader is waited for as long as its last beat says, from when that was first seen', async (t) => {
  const silence = new Silence();
  t.equal(silence.leftMs(7n, beat(beatText(7n, 2, 1), 5), 10_000), 2_000);
  t.equal(silence.leftMs(7n, beat(beatText(7n, 2, 1), 5), 11_500), 500);
  t.equal(silence.leftMs(7n, beat(beatText(7n, 2, 2), 6), 11_500), 2_000, 'another beat');
  t.equal(silence.leftMs(7n, beat(beatText(7n, 2, 2), 6), 14_000), 0);
  t.equal(silence.leftMs(7n, beat(beatText(7n, 2, 2), 9), 14_000), 2_000, 'one that came again, with others before it');
  t.equal(silence.leftMs(8n, beat(beatText(8n, 10, 2), 10), 14_000), 10_000, 'another leader, whose lease is longer');
});

t.test('a leader that gives no beats is waited for until etcd ends its lease', async (t) => {
  const silence = new Silence();
  for (const text of [undefined, '', 'x', '7', '7:x:1', '7:-1:1', beatText(6n, 2, 1)]) {
    const last = text === undefined ? undefined : beat(text, 5);
    silence.leftMs(7n, last, 0);
    t.equal(silence.leftMs(7n, last, 60_000), Number.POSITIVE_INFINITY, String(text));
  }
});
