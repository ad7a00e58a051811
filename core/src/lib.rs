//! A pinned core, the node made of cores, client and peer protocols.
