import { basename, join } from 'node:path';
import { CHANNELS_SOCKET } from '../protocol/channels.js';
import { FABRIC_OWN_SOCKET, FABRIC_SOCKET, STATE_VARIABLE } from '../protocol/control.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import type { Carrier, Channel, Listener, PeerAddress } from './carrier.js';
import type { ChannelBroker } from './channel-broker.js';
import { REHEARSALS } from './rehearsal.js';
import type { RingCarrier } from './ring-carrier.js';
import { stateSettings } from './state/settings.js';
import { UnixCarrier } from './unix-carrier.js';

const SPIN_US_MAX = 1_000;
const WHY_UNIX = 'SHOAL_CARRIER is unix';

/** Rings where they can be had, else Unix sockets. */
export class BestCarrier implements Carrier {
  readonly #rings: RingCarrier | undefined;
  readonly #whyNoRings: string;
  readonly #unix: UnixCarrier;

  /** Who gets descriptors from the agent; undefined where the native part of Shoal is missing. */
  readonly broker: ChannelBroker | undefined;

  constructor(rings: RingCarrier | undefined, whyNoRings: string, unix: UnixCarrier, broker?: ChannelBroker) {
    this.#rings = rings;
    this.#whyNoRings = whyNoRings;
    this.#unix = unix;
    this.broker = broker;
  }

  /** Does ahead of listen() what can be done without knowing which instance this is, and plays calls. */
  async prepare(): Promise<void> {
    await this.#unix.prepare();
    if (this.#rings === undefined) return;
    const { rehearseCalls } = await import('./call-rehearsal.js');
    await rehearseCalls(REHEARSALS);
  }

  async listen(accept: (channel: Channel) => void): Promise<Listener> {
    const listeners = [await this.#unix.listen(accept)];
    if (this.#rings !== undefined) listeners.push(await this.#rings.listen(accept));
    return {
      async close() {
        for (const listener of listeners) await listener.close();
      },
    };
  }

  async dial(address: PeerAddress): Promise<Channel> {
    let why = this.#whyNoRings;
    try {
      if (this.#rings !== undefined) return await this.#rings.dial(address);
    } catch (error) {
      why = toShoalError(error).message;
    }
    const channel = await this.#unix.dial(address).catch((cause: unknown) => {
      // One on another host has no socket here: why there is no ring is what matters.
      throw new ShoalError('SHOAL_E_UNREACHABLE', `${why}; ${toShoalError(cause).message}`, { cause });
    });
    channel.whyNoRing = why;
    channel.mayImprove = this.#rings !== undefined;
    return channel;
  }

  /** No more channels come and go; those that are open stay. */
  close(): void {
    this.broker?.close();
  }
}

/** Whose carrier it is, and where its sockets are. */
export interface CarrierOwner {
  component: string;
  socketFolder: string;
  peersFolder: string;
}

/**
 * The carrier of this process. Rings need the native part of Shoal, which an image may lack, and an agent that has them;
 * SHOAL_CARRIER=unix does without them. SHOAL_SPIN_US: how long an end of a ring may spin before it sleeps, 0 to 1000.
 */
export async function makeCarrier(owner: CarrierOwner, env: NodeJS.ProcessEnv): Promise<BestCarrier> {
  const spinMs = spinMsOf(env.SHOAL_SPIN_US);
  const { component, socketFolder, peersFolder } = owner;
  const settings = stateSettings(env);
  const asksItself =
    settings !== null &&
    settings.mode !== 'cache' &&
    (settings.mode === 'replicated' || settings.stalenessMs !== undefined);
  const ownPath = asksItself ? join(socketFolder, basename(FABRIC_OWN_SOCKET)) : undefined;
  const unix = new UnixCarrier(join(socketFolder, basename(FABRIC_SOCKET)), peersFolder, ownPath);
  const unixOnly = env.SHOAL_CARRIER === 'unix';
  // State needs the agent's descriptors also where calls do not.
  if (unixOnly && env[STATE_VARIABLE] === undefined) return new BestCarrier(undefined, WHY_UNIX, unix);
  try {
    const { ChannelBroker } = await import('./channel-broker.js');
    const { RingCarrier } = await import('./ring-carrier.js');
    const broker = new ChannelBroker(join(socketFolder, basename(CHANNELS_SOCKET)));
    if (unixOnly) return new BestCarrier(undefined, WHY_UNIX, unix, broker);
    return new BestCarrier(new RingCarrier(broker, spinMs, component), '', unix, broker);
  } catch (error) {
    return new BestCarrier(undefined, toShoalError(error).message, unix);
  }
}

function spinMsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,4}$/.test(text) && Number(text) <= SPIN_US_MAX) return Number(text) / 1_000;
  throw new ShoalError('SHOAL_E_USAGE', `SHOAL_SPIN_US must be a number from 0 to ${SPIN_US_MAX}, not ${text}`);
}
