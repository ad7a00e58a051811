//! What loads and measures a server.
