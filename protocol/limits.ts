/** Every bound of the system in one place. Sizes in bytes, times in milliseconds unless the name says otherwise. */
export const LIMITS = {
  frameBytesMax: 16 * 1024 * 1024,
  httpBodyBytesMax: 1024 * 1024,
  manifestBytesMax: 256 * 1024,
  nameLengthMax: 40,
  componentsPerAppMax: 64,
  instancesPerComponentMax: 500,
  /** Processes of one component that wait on one host to become instances. */
  warmPerComponentMax: 100,
  envVariablesMax: 128,
  labelsMax: 32,
  /** State shards of a component: unless its manifest says otherwise, and at most. */
  shardCountDefault: 256,
  shardCountMax: 1024,
  /** Of state: a key; a value unless the manifest says otherwise, and at most; the entries of one state shard likewise. */
  stateKeyBytesMax: 1024,
  /** Of an instance, of which is told how often they are read and written. */
  heaviestKeysMax: 64,
  /** In characters; what is longer is cut. */
  keyToldLengthMax: 100,
  stateValueBytesDefault: 1024 * 1024,
  stateValueBytesMax: 15 * 1024 * 1024,
  stateTtlMsMax: 100 * 365 * 86_400_000,
  /** Of all entries of replicated state: a message holds them. */
  replicatedBytesMax: 4 * 1024 * 1024,
  stateShardBytesDefault: 16 * 1024 * 1024,
  stateShardBytesMin: 64 * 1024,
  stateShardBytesMax: 256 * 1024 * 1024,
  /** What a host sends of state shards to hosts that get a copy, each second and in a burst; writes go beside that. */
  stateFillBytesPerSecond: 128 * 1024 * 1024,
  stateFillBurstBytes: 1024 * 1024,
  /** Copies of state shards that are under way, from or to one host, for whatever reason; one that takes longer holds up no other. */
  stateFillsPerHostMax: 4,
  stateFillMsMax: 60_000,
  /** Of these such as have enough copies, and are to be elsewhere: at once in the cluster, and of one host, fewer than of all. */
  stateMovesMax: 32,
  stateMovesPerHostMax: 1,
  /** Snapshots of state on the disk of a host: all together unless told; how often at least and at most. */
  stateSnapshotsBytesMax: 20 * 1024 ** 3,
  stateSnapshotMsMin: 1_000,
  stateSnapshotMsMax: 86_400_000,
  /** How old what is read from a copy may be: at least and at most. */
  stateStalenessMsMin: 100,
  stateStalenessMsMax: 60_000,
  /** Of R: hosts beside the owner's that hold each write. */
  stateReplicasMax: 4,
  /** Of a cache: servers that are named; an answer that comes later is an error; a connection without a word for so long is given up. */
  cacheServersMax: 32,
  cacheAnswerMsMax: 2_000,
  cacheSilenceMsMax: 3_000,
  /** Requests of one instance that wait for the cache. */
  cacheRequestsMax: 1_024,
  /** What an instance keeps near: at most, entries unless told; how long it may after the cache was last asked; how often it is. */
  cacheNearBytesMax: 256 * 1024 * 1024,
  cacheNearBytesMin: 64 * 1024,
  cacheNearEntriesMax: 1_000_000,
  cacheNearEntriesDefault: 100_000,
  cacheNearMsMax: 2_000,
  cachePingMs: 500,
  /** Of each of the two rings of a channel between two instances. */
  ringBytes: 64 * 1024,
  /** The same between two agents, for copies of state shards. */
  copyRingBytes: 1024 * 1024,
  /** Channels in shared memory of one instance, as caller and as callee each; and of the same two. */
  channelsPerInstanceMax: 1_024,
  channelsPerPairMax: 8,
  /** Between this host and another, all together: each takes memory of both agents. */
  channelsPerHostPairMax: 4_096,
  /** What the agent of another host may say: messages each second, and in a burst. */
  hostMessagesPerSecondMax: 2_000,
  hostMessagesBurstMax: 10_000,
  /** Channels to a host whose agent has said nothing for so long end: below the usual deadline of a call. */
  hostSilenceMsMax: 4_000,
  callsOutstandingPerPeerMax: 1024,
  /** Of a stream between two instances: what may be under way and unread, beside one item; what an item counts beside its bytes. */
  streamWindowBytes: 256 * 1024,
  streamItemOverheadBytes: 128,
  /**
   * Of the inputs of one caller at one callee, all together: what their windows are shared out of, of which each gets at least
   * so much; and what may have come and be unread, items that are larger than their window with it.
   */
  streamsOfCallerBytes: 8 * 1024 * 1024,
  streamWindowBytesMin: 8 * 1024,
  streamsOfCallerHeldBytesMax: 64 * 1024 * 1024,
  callDeadlineMsDefault: 5_000,
  callDeadlineMsMax: 600_000,
  heartbeatMs: 1_000,
  peerSilenceMsMax: 10_000,
  /** What an agent may say to the coordinator: messages each second, and in a burst. It reports at most 50 times a second. */
  agentMessagesPerSecondMax: 200,
  agentMessagesBurstMax: 1_000,
  /** An agent that a coordinator keeps waiting tries the next one; so does one whose reports are not answered. */
  welcomeMsMax: 3_000,
  answerMsMax: 5_000,
  coordinatorsMax: 16,
  /** How long singletons may run after the agent last asked and was answered; and what the coordinator waits beyond that. */
  singletonLeaseMs: 15_000,
  singletonMarginMs: 5_000,
  reconnectMsMin: 50,
  reconnectMsMax: 2_000,
  restartBackoffMsMin: 250,
  restartBackoffMsMax: 30_000,
  restartBackoffResetMs: 60_000,
  readyMsMax: 30_000,
  drainMsMax: 5_000,
  stopMsMax: 5_000,
  handoverMsMax: 10_000,
  /** What an instance may say to its agent unasked: messages each second, and in a burst. */
  controlMessagesPerSecondMax: 200,
  controlMessagesBurstMax: 1_000,
  logFileBytesMax: 4 * 1024 * 1024,
  logFilesMax: 3,
  /** What an agent tells of a log at once, in which time, of how many last lines at most, and how many such questions wait. */
  logPieceBytesMax: 256 * 1024,
  logAnswerMsMax: 10_000,
  logTailLinesMax: 100_000,
  logQuestionsMax: 64,
  /** How often who follows a log looks for more. */
  logLookMs: 250,
  /** Of a host's image store: beyond it what nobody uses is removed. */
  imageStoreBytesMax: 20 * 1024 ** 3,
  /** What a host gives other hosts of its images in a second, unless told otherwise, and at least. */
  imageUploadBytesDefault: 64 * 1024 ** 2,
  imageUploadBytesMin: 2 * 1024 ** 2,
  /** Of one build: its time, and what is kept of its log; and of how many builds a host keeps the log. */
  buildMsMax: 1_800_000,
  buildLogBytesMax: 16 * 1024 * 1024,
  buildsKeptMax: 100,
  /** Of all hosts together. */
  buildsToldMax: 1_000,
  /** How often a source is looked at for a new revision. */
  buildLookMs: 30_000,
  /** Of a step's name and of why a build has failed, as they are told. */
  buildTextLengthMax: 2_000,
  /** Of one secret, and how many an app may have. */
  secretBytesMax: 64 * 1024,
  secretsPerAppMax: 100,
  /** Commands run by people in instances: of one its words and their bytes; of a host at once; and how long its agent may
   * take to begin. */
  execWordsMax: 256,
  execCommandBytesMax: 8 * 1024,
  execsPerHostMax: 32,
  execStartMsMax: 10_000,
  /** Connections of a host on which state is exported or imported: each may hold the entries of one state shard in memory. */
  stateStreamsPerHostMax: 4,
  eventsKeptMax: 2_000,
  /** Decisions kept in memory: of all components together, of one, of one that changed nothing; stored, of one. */
  decisionsKeptMax: 50_000,
  decisionsPerComponentMax: 100,
  decisionsRecentMax: 30,
  decisionsStoredMax: 16,
  /** How often what was learned of a component is stored, and how much of all of them in one turn of the loop. */
  learnedPeriodMs: 60_000,
  learnedBytesPerTickMax: 1024 * 1024,
  learnedRecordBytesMax: 512 * 1024,
  knownEventsPerComponentMax: 100,
  knownEventMsMax: 31 * 86_400_000,
  knownEventNoteLengthMax: 200,
  samplesKeptMax: 3_600,
  forecastSecondsMax: 3_600,
  /** The profiler: its rate unless told otherwise, and how often what it has gathered is taken out. */
  profileHertzDefault: 99,
  profileHertzMax: 1_000,
  profileDrainMs: 1_000,
  /** Kept by the second; then in blocks, and older ones in longer blocks. */
  profileRecentMs: 30_000,
  profileBlockMs: 10_000,
  profileLongBlockMs: 300_000,
  /** On disk, of one component: of each kind of block; and of all components together. */
  profileBlockBytesMax: 1024 * 1024,
  profileLongBlockBytesMax: 4 * 1024 * 1024,
  profilesBytesMax: 64 * 1024 * 1024,
  /** Of one profile. */
  profileStacksMax: 10_000,
  profileFunctionsMax: 100_000,
  profileNotesMax: 16,
  profileFramesMax: 256,
  profileNameLengthMax: 1_100,
  profileBytesMax: 8 * 1024 * 1024,
  profileAnswerMsMax: 10_000,
  profileSecondsMax: 3_600,
  /** Tokens with which hosts join: at once, how long and how often each may be used. */
  joinTokensMax: 1_000,
  joinTokenSecondsMax: 7 * 86_400,
  joinTokenUsesMax: 1_000,
  /** Certificates that are void before they expire. */
  revokedMax: 10_000,
} as const;
