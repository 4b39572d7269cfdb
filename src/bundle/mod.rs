//! Checkpoint files at the level of tensors: reading and writing TensorFlow's V2 checkpoints (tensor bundles) and V1
//! checkpoints, and the `checkpoint` state file of a directory.
//!
//! A V2 checkpoint with the prefix `model` is the files `model.index`, a [`table`] that tells where each tensor lies,
//! and `model.data-00000-of-00001`, the tensors' bytes; sharded ones have several of these. A V1 checkpoint is one
//! table, or one a shard, that holds the tensors as messages.
//!
//! ```
//! use metagraph::bundle::{BundleWriter, CheckpointReader, TensorSlice};
//! use metagraph::Tensor;
//! # let dir = std::env::temp_dir().join(format!("metagraph-doc-bundle-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! let prefix = dir.join("model");
//! let mut writer = BundleWriter::new(&prefix)?;
//! writer.add("w", &Tensor::new(&[2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0])?)?;
//! writer.add("step", &Tensor::scalar(7i64))?;
//! writer.finish()?;
//!
//! let reader = CheckpointReader::open(&prefix)?;
//! assert_eq!(reader.variables()?.keys().collect::<Vec<_>>(), ["step", "w"]);
//! assert_eq!(reader.read_slice("w", &TensorSlice::parse("-:1,2")?)?.to_string(), "f32[[2 3] [5 6]]");
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), metagraph::Error>(())
//! ```

mod checkpoint;
mod coding;
mod data;
mod file;
mod glob;
mod merge;
mod ordered_code;
mod reader;
mod runs;
mod slice;
pub mod state;
pub mod table;
mod v1_reader;
mod v1_writer;
mod writer;

#[cfg(test)]
mod tests;

pub use checkpoint::CheckpointReader;
pub(crate) use coding::{mask, unmask};
pub(crate) use file::{ReadFile, TempFile, io_error, write_atomically};
pub(crate) use glob::matching_files;
pub use merge::{MergeOptions, merge_v2_checkpoints};
pub use reader::BundleReader;
pub use slice::{ShapeAndSlice, TensorSlice};
pub use v1_reader::TensorSliceReader;
pub use v1_writer::TensorSliceWriter;
pub use writer::{BundleWriter, BundleWriterOptions};

use crate::error::{Result, bail};
use crate::proto::VersionDef;
use crate::tensor::{DType, Shape};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tensors of a checkpoint by name: element type and shape.
pub type Variables = BTreeMap<String, (DType, Shape)>;

/// The version of both checkpoint formats that is written, and the highest that can be read.
const VERSION: i32 = 1;

/// The path of a V2 checkpoint's index: `PREFIX.index`.
pub fn index_filename(prefix: &Path) -> PathBuf {
    file::with_suffix(prefix, ".index")
}

/// The path of a V2 checkpoint's data file: `PREFIX.data-00000-of-00001`.
pub fn data_filename(prefix: &Path, shard: i32, num_shards: i32) -> PathBuf {
    file::with_suffix(prefix, &format!(".data-{shard:05}-of-{num_shards:05}"))
}

/// An error if the writer of a checkpoint asks that readers of `version` leave it alone.
fn check_versions(versions: Option<&VersionDef>, version: i32) -> Result<()> {
    let Some(versions) = versions else { return Ok(()) };
    if versions.min_consumer > version {
        bail!(
            InvalidArgument,
            "Checkpoint min consumer version {} above current version {version}: it needs a newer reader",
            versions.min_consumer
        );
    }
    if versions.producer < 0 {
        bail!(InvalidArgument, "Checkpoint producer version {} below min producer 0", versions.producer);
    }
    if versions.bad_consumers.contains(&version) {
        bail!(InvalidArgument, "Checkpoint disallows consumer version {version}");
    }
    Ok(())
}
