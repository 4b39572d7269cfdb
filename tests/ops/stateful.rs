//! Small programs of ops with state, and the places of other tests.

use metagraph::{Graph, Output, Result};

/// A program: what is fetched of it.
type Program = fn(&Graph) -> Result<Vec<Output>>;

/// The programs.
pub const PROGRAMS: &[(&str, Program)] = &[];

/// Ops whose shapes are compared in other tests: where, which.
pub const ELSEWHERE: &[(&str, &[&str])] = &[];
