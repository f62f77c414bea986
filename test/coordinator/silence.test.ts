import t from 'tap';
import { beatText, Silence } from '../../coordinator/store/etcd/silence.js';

t.test('a leader is waited for as long as its last beat says, from when that was first seen', async (t) => {
  const silence = new Silence();
  t.equal(silence.leftMs(7n, beatText(7n, 2, 1), 10_000), 2_000);
  t.equal(silence.leftMs(7n, beatText(7n, 2, 1), 11_500), 500);
  t.equal(silence.leftMs(7n, beatText(7n, 2, 2), 11_500), 2_000, 'another beat');
  t.equal(silence.leftMs(7n, beatText(7n, 2, 2), 14_000), 0);
  t.equal(silence.leftMs(8n, beatText(8n, 10, 2), 14_000), 10_000, 'another leader, whose lease is longer');
});

t.test('a leader that gives no beats is waited for until etcd ends its lease', async (t) => {
  const silence = new Silence();
  for (const beat of [undefined, '', 'x', '7', '7:x:1', '7:-1:1', beatText(6n, 2, 1)]) {
    silence.leftMs(7n, beat, 0);
    t.equal(silence.leftMs(7n, beat, 60_000), Number.POSITIVE_INFINITY, String(beat));
  }
});
