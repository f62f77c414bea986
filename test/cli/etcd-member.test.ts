import t from 'tap';
import { etcdMember } from '../../cli/up/etcd-member.js';

const settings = { members: '', name: 'n1', port: 2379, data: '/d' };
const word = (args: readonly string[], option: string) => args[args.indexOf(option) + 1];

t.test('a member of etcd answers to its own host, and to coordinators alone', async (t) => {
  const alone = etcdMember(settings);
  t.same(alone.store, { etcd: 'http://127.0.0.1:2379' });
  t.equal(word(alone.args, '--initial-cluster'), 'n1=http://127.0.0.1:2380');
  const members = 'n1=https://10.0.0.1:2380,n2=https://10.0.0.2:2380';
  const { args, store } = etcdMember({ ...settings, members, identity: '/i' });
  t.equal(word(args, '--listen-peer-urls'), 'https://10.0.0.1:2380');
  t.equal(word(args, '--listen-client-urls'), 'https://127.0.0.1:2379');
  t.equal(word(args, '--peer-cert-allowed-hostname'), 'shoal-coordinator');
  t.match(store, { etcd: 'https://127.0.0.1:2379', etcdKey: '/i/own.key' });
  const refused = { code: 'SHOAL_E_USAGE' };
  t.throws(() => etcdMember({ ...settings, members }), refused, 'members of other hosts need certificates');
  t.throws(() => etcdMember({ ...settings, members: 'n2=http://127.0.0.1:1' }), { message: /names no member n1/ });
  t.throws(() => etcdMember({ ...settings, members: 'x' }), refused);
});
