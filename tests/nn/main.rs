//! Graphs of recurrent networks, layers and losses, node for node as TensorFlow builds them.

#[path = "../common/mod.rs"]
mod common;
mod layouts;
mod recurrent;

use common::{Strictness, compare_graphs};
use flate2::read::GzDecoder;
use metagraph::proto::GraphDef;
use metagraph::{Graph, Result};
use prost::Message;
use std::io::Read;

/// Compares what `build` makes with `tests/fixtures/nn/<name>.pb` or `.pb.gz`, which TensorFlow wrote.
fn check(name: &str, build: impl FnOnce(&Graph) -> Result<()>) {
    let path = format!("{}/tests/fixtures/nn/{name}.pb", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|_| {
        let mut bytes = Vec::new();
        GzDecoder::new(std::fs::File::open(format!("{path}.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    });
    let theirs = GraphDef::decode(bytes.as_slice()).unwrap();
    let graph = Graph::new();
    build(&graph).unwrap();
    let ours = graph.as_graph_def();
    compare_graphs(name, &ours, &theirs, Strictness::Letter);
}
