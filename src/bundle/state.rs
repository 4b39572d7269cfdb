//! The `checkpoint` file of a directory, which tells the latest checkpoint and the others that are kept.

use super::file::{with_suffix, write_atomically};
use super::{index_filename, io_error, matching_files};
use crate::error::{Result, bail};
use crate::proto::CheckpointState;
use crate::proto::text::{self, format_double, quote};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf, absolute};

/// The name of the state file unless another is given.
pub const CHECKPOINT: &str = "checkpoint";

/// Reads a state from protocol buffers' text format. Fields that it doesn't have are skipped; of a field that stands
/// twice, the last counts.
///
/// # Errors
/// `InvalidArgument` with line and column if the text isn't in the format.
pub fn parse_checkpoint_state(text: &str) -> Result<CheckpointState> {
    text::parse_with(text, text::ParseOptions { skip_unknown: true, last_counts: true })
}

/// The text format of a state, byte for byte TensorFlow's.
pub fn format_checkpoint_state(state: &CheckpointState) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name}: {value}\n"));
    if !state.model_checkpoint_path.is_empty() {
        line("model_checkpoint_path", quote(state.model_checkpoint_path.as_bytes(), false));
    }
    for path in &state.all_model_checkpoint_paths {
        line("all_model_checkpoint_paths", quote(path.as_bytes(), false));
    }
    for &time in &state.all_model_checkpoint_timestamps {
        line("all_model_checkpoint_timestamps", format_double(time));
    }
    // A zero of either sign is the default of the field, which is not written, unless its bits are not those of 0.
    if state.last_preserved_timestamp.to_bits() != 0 {
        line("last_preserved_timestamp", format_double(state.last_preserved_timestamp));
    }
    text
}

fn state_path(dir: &Path, latest_filename: Option<&str>) -> PathBuf {
    dir.join(latest_filename.unwrap_or(CHECKPOINT))
}

/// Reads the state file of a directory; `None` if there is none or it can't be read. Relative paths in it come back
/// with the directory before them.
///
/// # Errors
/// `InvalidArgument` if the file has no `model_checkpoint_path`.
pub fn get_checkpoint_state(dir: impl AsRef<Path>, latest_filename: Option<&str>) -> Result<Option<CheckpointState>> {
    let dir = dir.as_ref();
    let path = state_path(dir, latest_filename);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) => {
            if e.kind() != ErrorKind::NotFound {
                tracing::warn!("{}: checkpoint ignored", io_error(&path, &e));
            }
            return Ok(None);
        }
    };
    let mut state = match parse_checkpoint_state(&text) {
        Ok(state) => state,
        Err(e) => {
            tracing::warn!("{}: {e}: checkpoint ignored", path.display());
            return Ok(None);
        }
    };
    if state.model_checkpoint_path.is_empty() {
        bail!(InvalidArgument, "Invalid checkpoint state loaded from {}", dir.display());
    }
    let join = |path: &mut String| {
        if !Path::new(path).is_absolute() {
            *path = dir.join(&*path).to_string_lossy().into_owned();
        }
    };
    join(&mut state.model_checkpoint_path);
    state.all_model_checkpoint_paths.iter_mut().for_each(join);
    Ok(Some(state))
}

/// What [`update_checkpoint_state`] is to write.
#[derive(Clone, Debug, Default)]
pub struct CheckpointStateUpdate<'a> {
    /// The latest checkpoint.
    pub model_checkpoint_path: &'a str,
    /// All checkpoints that are kept, from oldest to newest; the latest is appended if it isn't the last.
    pub all_model_checkpoint_paths: &'a [String],
    /// When each of these was written, in seconds since 1970; none, or as many as paths.
    pub all_model_checkpoint_timestamps: &'a [f64],
    /// When the last checkpoint was written that is kept for good.
    pub last_preserved_timestamp: Option<f64>,
    /// The name of the state file, [`CHECKPOINT`] unless given.
    pub latest_filename: Option<&'a str>,
    /// Write absolute paths relative to the directory, so that it can be moved.
    pub save_relative_paths: bool,
}

/// Writes the state file of a directory at once. Where the directory is given by a relative path, the checkpoints'
/// relative paths, which are to the working directory as well, are written relative to it.
///
/// # Errors
/// `InvalidArgument` if there are timestamps but not as many as paths; `FailedPrecondition` if the checkpoint's path is
/// the state file's; what the file system says.
pub fn update_checkpoint_state(save_dir: impl AsRef<Path>, update: &CheckpointStateUpdate) -> Result<()> {
    let save_dir = save_dir.as_ref();
    let relative_to = |path: &str, wanted: bool| {
        if wanted { relative_path(Path::new(path), save_dir) } else { Ok(path.to_string()) }
    };
    let convert = |path: &str| -> Result<String> {
        let is_absolute = Path::new(path).is_absolute();
        let path = relative_to(path, update.save_relative_paths && is_absolute)?;
        let is_absolute = Path::new(&path).is_absolute();
        relative_to(&path, !save_dir.is_absolute() && !is_absolute)
    };
    let latest = convert(update.model_checkpoint_path)?;
    let mut all = update.all_model_checkpoint_paths.iter().map(|p| convert(p)).collect::<Result<Vec<_>>>()?;
    if all.last() != Some(&latest) {
        all.push(latest.clone());
    }
    let times = update.all_model_checkpoint_timestamps;
    if !times.is_empty() && times.len() != all.len() {
        bail!(
            InvalidArgument,
            "Checkpoint timestamps, if provided, must match checkpoint paths (got paths {all:?} and timestamps {times:?})"
        );
    }
    let state = CheckpointState {
        model_checkpoint_path: latest,
        all_model_checkpoint_paths: all,
        all_model_checkpoint_timestamps: times.to_vec(),
        last_preserved_timestamp: update.last_preserved_timestamp.unwrap_or(0.0),
    };
    let path = state_path(save_dir, update.latest_filename);
    if path == Path::new(&state.model_checkpoint_path) {
        bail!(
            FailedPrecondition,
            "Save path '{}' conflicts with path used for checkpoint state.  Please use a different save path.",
            update.model_checkpoint_path
        );
    }
    write_atomically(&path, format_checkpoint_state(&state).as_bytes())
}

/// The way from one directory to a path, both taken from the working directory where they are relative.
fn relative_path(path: &Path, from: &Path) -> Result<String> {
    let resolve = |path: &Path| -> Result<Vec<String>> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let path = absolute(path).map_err(|e| io_error(path, &e))?;
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::ParentDir => {
                    parts.pop();
                }
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                Component::Prefix(prefix) => parts.push(prefix.as_os_str().to_string_lossy().into_owned()),
                Component::RootDir | Component::CurDir => {}
            }
        }
        Ok(parts)
    };
    let (path, from) = (resolve(path)?, resolve(from)?);
    let shared = path.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - shared);
    let parts: Vec<&str> = up.chain(path[shared..].iter().map(String::as_str)).collect();
    Ok(if parts.is_empty() { ".".into() } else { parts.join(std::path::MAIN_SEPARATOR_STR) })
}

/// The latest checkpoint of a directory by its state file, as a path from the working directory; `None` if there is no
/// state file, or what it names doesn't exist. A checkpoint that is named by an absolute path but isn't there is looked
/// for beside the state file, as a directory may have been moved.
///
/// # Errors
/// As [`get_checkpoint_state`].
pub fn latest_checkpoint(dir: impl AsRef<Path>, latest_filename: Option<&str>) -> Result<Option<String>> {
    let dir = dir.as_ref();
    let Some(state) = get_checkpoint_state(dir, latest_filename)? else { return Ok(None) };
    let path = state.model_checkpoint_path;
    if checkpoint_exists(&path) {
        return Ok(Some(path));
    }
    let beside = Path::new(&path).file_name().map(|name| dir.join(name).to_string_lossy().into_owned());
    match beside.filter(|beside| checkpoint_exists(beside)) {
        Some(beside) => Ok(Some(beside)),
        None => {
            tracing::error!("Couldn't match files for checkpoint {path}");
            Ok(None)
        }
    }
}

/// The files by which a checkpoint is known: the index of V2, else the file or shards of V1.
fn checkpoint_files(prefix: &str) -> Vec<String> {
    let index = matching_files(&format!("{prefix}.index"));
    if index.is_empty() { matching_files(prefix) } else { index }
}

/// True if there is a checkpoint of either version with this prefix, which may be a pattern of V1 shards.
pub fn checkpoint_exists(prefix: &str) -> bool {
    !checkpoint_files(prefix).is_empty()
}

/// When checkpoints were written, in seconds since 1970; those that don't exist are left out.
pub fn get_checkpoint_mtimes<S: AsRef<str>>(prefixes: &[S]) -> Vec<f64> {
    let mtime = |prefix: &S| {
        let file = checkpoint_files(prefix.as_ref()).into_iter().next()?;
        let time = fs::metadata(file).and_then(|m| m.modified()).ok()?;
        Some(time.duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()))
    };
    prefixes.iter().filter_map(mtime).collect()
}

/// Deletes a checkpoint's files: of V2 index and data, of V1 the file or shards. What isn't there is passed over.
///
/// # Errors
/// What the file system says.
pub fn remove_checkpoint(prefix: &str) -> Result<()> {
    let v2 = index_filename(Path::new(prefix)).exists();
    let patterns = match v2 {
        true => vec![format!("{prefix}.index"), format!("{prefix}.data-?????-of-?????")],
        false => vec![prefix.to_string()],
    };
    for file in patterns.iter().flat_map(|p| matching_files(p)) {
        delete(Path::new(&file))?;
    }
    Ok(())
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error(path, &e)),
        _ => Ok(()),
    }
}

/// The path of the graph beside a checkpoint: `PREFIX.meta`, without a V1 shard's number.
pub fn meta_graph_filename(checkpoint_filename: &str, meta_graph_suffix: &str) -> String {
    let base = checkpoint_filename.rsplit_once("-of-").and_then(|(rest, of)| {
        let (base, shard) = rest.rsplit_once('-')?;
        let all = |s: &str, also: u8| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || b == also);
        (all(shard, b'?') && all(of, b'0')).then_some(base)
    });
    let base = Path::new(base.unwrap_or(checkpoint_filename));
    with_suffix(base, &format!(".{meta_graph_suffix}")).to_string_lossy().into_owned()
}
