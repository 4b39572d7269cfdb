//! Merging V2 checkpoints.

use super::file::{create_directory_of, directory_of, io_error};
use super::reader::read_header;
use super::table::Table;
use super::writer::write_index;
use super::{data_filename, index_filename};
use crate::error::{Code, Error, Result, bail};
use crate::proto::{BundleEntryProto, BundleHeaderProto};
use indexmap::IndexMap;
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How [`merge_v2_checkpoints`] merges: the attributes of the op `MergeV2Checkpoints`.
#[derive(Clone, Copy, Debug)]
pub struct MergeOptions {
    /// Delete the directories of the merged bundles, where these are empty afterwards and not the merged one's.
    pub delete_old_dirs: bool,
    /// Leave out prefixes that have no index, as long as one has.
    pub allow_missing_files: bool,
}

impl Default for MergeOptions {
    fn default() -> MergeOptions {
        MergeOptions { delete_old_dirs: true, allow_missing_files: false }
    }
}

/// Merges V2 checkpoints into one: the data files are renamed to shards of the merged prefix, and one index lists all
/// tensors. The slices of one tensor may be spread over the bundles.
///
/// # Errors
/// `InvalidArgument` if a prefix has no index (see [`MergeOptions::allow_missing_files`]), none has, two bundles have
/// the same tensor, or differ in version, or slices differ in dtype or whole; `Internal` (TensorFlow's code) if one has
/// the whole and another a slice of a tensor; what reading an index and the file system give.
pub fn merge_v2_checkpoints<P: AsRef<Path>>(prefixes: &[P], merged: impl AsRef<Path>, options: MergeOptions) -> Result<()> {
    let merged = merged.as_ref();
    create_directory_of(merged)?;
    let mut state = MergeState::default();
    for prefix in prefixes {
        let prefix = prefix.as_ref();
        match state.add(prefix) {
            Err(e) if e.code() == Code::NotFound && !index_filename(prefix).exists() => {
                if !options.allow_missing_files {
                    bail!(
                        InvalidArgument,
                        "allow_missing_files was set to false and {} did not exist: {}",
                        prefix.display(),
                        e.message()
                    );
                }
            }
            result => result?,
        }
    }
    let Some(mut header) = state.header else {
        bail!(InvalidArgument, "At least one prefix checkpoint file must exist, but none existed.");
    };
    header.num_shards = i32::try_from(state.shards.len()).map_err(|_| Error::invalid_argument("too many shards"))?;
    let index = write_index(merged, &header, &state.entries, false)?;
    for (i, (_, path)) in state.shards.iter().enumerate() {
        let to = data_filename(merged, i as i32, header.num_shards);
        fs::rename(path, &to).map_err(|e| io_error(path, &e))?;
    }
    index.commit(false)?;
    let merged_index = index_filename(merged);
    for prefix in prefixes {
        let index = index_filename(prefix.as_ref());
        if index != merged_index {
            // A leftover index is harmless, and its directory may be gone already.
            let _ = fs::remove_file(index);
        }
    }
    if options.delete_old_dirs {
        for prefix in prefixes {
            let directory = directory_of(prefix.as_ref());
            if let Some(directory) = directory.filter(|d| Some(*d) != directory_of(merged)) {
                // Several prefixes share a directory, and one with other files in it stays.
                let _ = fs::remove_dir(directory);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct MergeState {
    header: Option<BundleHeaderProto>,
    entries: BTreeMap<Vec<u8>, BundleEntryProto>,
    /// For each bundle and shard of it the data file, in the order of the merged shards.
    shards: IndexMap<(usize, i32), PathBuf>,
    bundles: usize,
}

impl MergeState {
    fn add(&mut self, prefix: &Path) -> Result<()> {
        let table = Table::open(index_filename(prefix))?;
        let mut entries = table.entries()?.into_iter();
        let header = read_header(&table, entries.next())?;
        self.bundles += 1;
        match &self.header {
            Some(first) if first.version != header.version => bail!(
                InvalidArgument,
                "Merging bundles with different format versions: merged {:?} vs. curr {:?}",
                first.version,
                header.version
            ),
            Some(_) => {}
            None => self.header = Some(header.clone()),
        }
        for (key, value) in entries {
            let name = key.escape_ascii();
            let Ok(mut entry) = BundleEntryProto::decode(value) else {
                let place = table.path().display().to_string();
                return Err(Error::data_loss(format!("Entry for key {name} not parseable.")).within(place));
            };
            if let Some(existing) = self.entries.get_mut(&key[..]) {
                if existing.slices.is_empty() {
                    bail!(
                        InvalidArgument,
                        "Duplicate tensor keyed by {name} encountered, when merging prefix: {}",
                        prefix.display()
                    );
                }
                if entry.slices.is_empty() {
                    bail!(Internal, "Duplicate tensor keyed by {name}; attempting to merge in a non-slice bundle entry");
                }
                if existing.dtype != entry.dtype || existing.shape != entry.shape {
                    bail!(
                        InvalidArgument,
                        "the slices of {name} disagree in dtype or shape, when merging prefix: {}",
                        prefix.display()
                    );
                }
                existing.slices.append(&mut entry.slices);
                continue;
            }
            let shard = self.shards.entry((self.bundles, entry.shard_id));
            let index = shard.index() as i32;
            shard.or_insert_with(|| data_filename(prefix, entry.shard_id, header.num_shards));
            entry.shard_id = index;
            self.entries.insert(key.into_vec(), entry);
        }
        Ok(())
    }
}
