//! Tests of the house itself, and of the tools.

mod house;
mod promises;
mod tree;
