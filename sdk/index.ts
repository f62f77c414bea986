/**
 * What a component imports.
 *
 *   import { connect } from 'shoal/sdk';
 *   const app = await connect();
 *   app.handle('upper', (text) => String(text).toUpperCase());
 *   await app.ready();
 */

import { App, identityFrom } from './app.js';
import { makeCarrier } from './best-carrier.js';
import { stateSettings } from './state/settings.js';

export { type ErrorCode, ShoalError } from '../protocol/errors.js';
export { LIMITS } from '../protocol/limits.js';
export { shardOfKey } from '../protocol/shard.js';
export type { App, Identity, PeerView } from './app.js';
export type { CallOptions } from './router.js';
export type { CallContext, Handler, OpenState } from './server.js';
export type { KeyedState, StateNeed, StateOptions, WriteOptions } from './state.js';
export type { StreamSource } from './stream-writer.js';

/** Connects this process to the agent of its host. Throws SHOAL_E_USAGE outside of an instance. */
export async function connect(): Promise<App> {
  const identity = identityFrom(process.env);
  const settings = stateSettings(process.env);
  const carrier = await makeCarrier(identity, process.env);
  const app = new App(identity, carrier, settings);
  if (process.env.SHOAL_WARM === '1') {
    // Started ahead of need: all modules are loaded by now, and only here does it learn which instance it is.
    await carrier.prepare();
    await app.startWhenActivated();
    process.env.SHOAL_INSTANCE = identity.instance;
    delete process.env.SHOAL_WARM;
  } else app.start();
  return app;
}
