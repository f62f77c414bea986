import { connect } from 'shoal/sdk';

// Speaks with the agent but never says that it is ready.
await connect();
