import { ShoalError } from '../../protocol/errors.js';

export interface Listen {
  host: string;
  port: number;
}

/** HOST:PORT, an IPv6 address in brackets. */
export function parseListen(text: string): Listen {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= 65_535)) {
    throw new ShoalError('SHOAL_E_USAGE', `--listen must be HOST:PORT with a port from 1 to 65535, not "${text}"`);
  }
  return { host, port };
}

/** The address at which a client on this host reaches such a listener. */
export function addressOf({ host, port }: Listen, scheme: 'http' | 'https' = 'http'): string {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${scheme}://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}
