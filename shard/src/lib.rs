//! A Raft group and its state machine; time, transactions, routes.
