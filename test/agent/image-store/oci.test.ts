import t from 'tap';
import { parseConfig } from '../../../agent/image-store/oci.js';

const parse = (config: object) => parseConfig(JSON.stringify({ config, rootfs: { diff_ids: [] } }));

t.test('the signal that an image is to be ended by', async (t) => {
  const given = { SIGQUIT: 3, TERM: 15, '9': 9, 'SIGRTMIN+3': 37, SIGRTMAX: 64, 'RTMAX-14': 50, SIGUSR1: 10 };
  for (const [text, number] of Object.entries(given)) t.equal(parse({ StopSignal: text }).stopSignal, number, text);
  for (const config of [{}, { StopSignal: '' }]) t.notOk('stopSignal' in parse(config));
  for (const StopSignal of ['SIGNONE', '0', '65', 'SIGRTMAX+1', 'SIGTERM+1', 'constructor', '3 ', 3.5, {}]) {
    t.throws(() => parse({ StopSignal }), { code: 'SHOAL_E_START' }, JSON.stringify(StopSignal));
  }
});
