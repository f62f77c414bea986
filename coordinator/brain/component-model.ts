/**
 * What has been learned of one component. Plain data that survives JSON and a change of coordinator; it comes into
 * `planComponent` and goes out of it changed. Only the modules of the brain look inside; `learnedFacts` is for views.
 */
export interface ComponentModel {
  /** Of another version: nothing is known. */
  version: typeof MODEL_VERSION;
  /** Of the tick last learned from; 0 before the first. */
  atMs: number;
}

export const MODEL_VERSION = 1;

export const NEW_MODEL: ComponentModel = { version: MODEL_VERSION, atMs: 0 };
