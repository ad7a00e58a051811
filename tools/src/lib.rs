//! What operates, inspects, profiles and simulates a node.
