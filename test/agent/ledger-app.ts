import { fileURLToPath } from 'node:url';

/** An app of a caller on one host and what it calls, `ledger`, on another; and what its caller answers (components/caller.mts). */
export const CALLER_PORT = 8080;
const COMPONENTS = fileURLToPath(new URL('./components', import.meta.url));
const STREAMED = Array.from({ length: 2_000 }, (_, i) => 1_000 + (i % 251));

/** What became of all calls. */
export interface Outcomes {
  asked: number;
  answered: number;
  twice: number;
  failed: Record<string, number>;
  peers: { component: string; instances: { id: string; carrier?: string }[] }[];
}

/** Of a stream from the other host, and of one to it. */
export interface Streams {
  items: number;
  inOrder: boolean;
  sum: number;
}

/** Of streams that passed whole. */
export const WHOLE_STREAMS: Streams = {
  items: STREAMED.length,
  inOrder: true,
  sum: STREAMED.reduce((total, each) => total + each, 0),
};

/** Hosts have their names as the label `host`. */
export function ledgerApp(near: string, far: string) {
  const component = (name: string, host: string, more: object) => ({
    rootfs: 'host',
    directory: COMPONENTS,
    command: ['node', `${name}.mjs`],
    count: 1,
    size: { cpu: 0.5, memory: '128Mi' },
    place: { require: { host } },
    ...more,
  });
  const components = {
    caller: component('caller', near, { calls: ['ledger'], ports: [{ name: 'http', host: CALLER_PORT }] }),
    ledger: component('ledger', far, {}),
  };
  return { app: 't', components };
}
