import t from 'tap';
import { ShardRoute } from '../../protocol/state-route.js';

t.test('the later epoch is right, whoever speaks first', async (t) => {
  const route = new ShardRoute();
  t.equal(route.host, null);
  route.learn(5, 'b');
  route.learn(3, 'a');
  t.equal(route.host, 'b');
  route.learn(5, 'c');
  t.equal(route.host, 'b', 'an epoch has one owner');
});

t.test('who is silent is doubted until somebody names it again, and older news are not believed', async (t) => {
  const route = new ShardRoute();
  route.learn(5, 'b');
  route.doubt('a');
  t.equal(route.host, 'b');
  route.doubt('b');
  t.equal(route.host, null);
  route.learn(4, 'a');
  t.equal(route.host, null);
  route.learn(5, 'b');
  t.equal(route.host, 'b');
});
