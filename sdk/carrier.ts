import type { FabricRequest, FabricResponse } from '../protocol/control.js';

/**
 * What moves messages between two instances: rings in shared memory, or Unix sockets where those cannot be had. A message is anything that msgpack can hold; each arrives whole, in order, at most once.
 */
export interface Carrier {
  /** Begins to accept channels from callers. */
  listen(accept: (channel: Channel) => void): Promise<Listener>;
  /** Rejects when the instance cannot be reached; then nothing has been sent. */
  dial(address: PeerAddress): Promise<Channel>;
}

export interface PeerAddress {
  component: string;
  instance: string;
}

export type CarrierKind = 'ring' | 'unix';

export interface Channel {
  readonly kind: CarrierKind;
  /** Why it is no ring. */
  whyNoRing?: string;
  /** Whether dialling anew may bring a ring. */
  mayImprove?: boolean;
  /** Of one that was accepted: the caller is of this instance's own component, as the agent says. */
  readonly isOwn?: boolean;
  /** Bytes that wait for the other side to take them. */
  readonly queuedBytes: number;
  /** Resolves when what waits is sent or given up; undefined while so little waits that streams may add to it. */
  untilRoom(): Promise<void> | undefined;
  /** What it throws closes the channel: the other side broke the protocol. To be set as soon as the channel is there. */
  onMessage: (message: unknown) => void;
  /** Called once, also after close(). */
  onClose: (why: string) => void;
  /** Throws SHOAL_E_FRAME when the message is too large or cannot be encoded; then nothing was sent. */
  send(message: FabricRequest | FabricResponse): void;
  /** What was sent before still goes out. */
  close(why?: string): void;
}

export interface Listener {
  /** Accepts no more channels; open ones stay. */
  close(): Promise<void>;
}
