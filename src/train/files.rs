//! Saving and restoring: checkpoint files, the checkpoint state, and reports of what doesn't fit.

use super::Saver;
use super::meta_graph::{ExportOptions, export_meta_graph};
use super::restore::hint;
use crate::bundle::state::{self, CheckpointStateUpdate};
use crate::error::{Error, Result, bail};
use crate::session::Session;
use crate::tensor::Tensor;
use std::path::Path;
use std::sync::MutexGuard;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// How a checkpoint is saved.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    /// Appended to the prefix: `model-100`.
    pub global_step: Option<i64>,
    /// The name of the state file.
    pub latest_filename: String,
    /// The suffix of the MetaGraph's file.
    pub meta_graph_suffix: String,
    /// Whether the MetaGraph is written beside the variables.
    pub write_meta_graph: bool,
    /// Whether the state file is brought up to date.
    pub write_state: bool,
}

impl Default for SaveOptions {
    fn default() -> SaveOptions {
        SaveOptions {
            global_step: None,
            latest_filename: "checkpoint".to_string(),
            meta_graph_suffix: "meta".to_string(),
            write_meta_graph: true,
            write_state: true,
        }
    }
}

impl Saver {
    fn locked<'a, T>(mutex: &'a std::sync::Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Saves the session's variables as `prefix.index` and `prefix.data-*`, the graph as `prefix.meta`, and notes the
    /// checkpoint in the folder's state file. Returns the prefix.
    ///
    /// # Errors
    /// `FailedPrecondition` for a variable without a value; what writing returns. The checkpoints that were there before
    /// stay whole.
    pub fn save(&self, session: &Session, prefix: impl AsRef<Path>) -> Result<String> {
        self.save_with(session, prefix, &SaveOptions::default())
    }

    /// Saves with options.
    ///
    /// # Errors
    /// As [`Saver::save`].
    pub fn save_with(&self, session: &Session, prefix: impl AsRef<Path>, options: &SaveOptions) -> Result<String> {
        let Some(prefix) = prefix.as_ref().to_str() else { bail!(InvalidArgument, "the prefix of a checkpoint must be UTF-8") };
        let file = match options.global_step {
            Some(step) if self.pad_step_number => format!("{prefix}-{step:08}"),
            Some(step) => format!("{prefix}-{step}"),
            None => prefix.to_string(),
        };
        let folder = Path::new(&file).parent().map(Path::to_path_buf).unwrap_or_default();
        if !self.def.save_tensor_name.is_empty() {
            let filename = self.graph.get_tensor_by_name(&self.def.filename_tensor_name)?;
            let save = self.graph.get_tensor_by_name(&self.def.save_tensor_name)?;
            let start = std::time::Instant::now();
            session.run_with_targets(&[], &[save.op], &[(filename, &Tensor::from(file.as_str()))])?;
            tracing::debug!(prefix = file, elapsed = ?start.elapsed(), "checkpoint saved");
            if options.write_state {
                self.keep(&file, &folder, options)?;
            }
        }
        if options.write_meta_graph {
            let meta = state::meta_graph_filename(&file, &options.meta_graph_suffix);
            export_meta_graph(&self.graph, Some(Path::new(&meta)), &ExportOptions { saver: Some(self), ..Default::default() })?;
        }
        Ok(file)
    }

    /// Notes a new checkpoint, and deletes the oldest where there are more than are kept.
    fn keep(&self, file: &str, folder: &Path, options: &SaveOptions) -> Result<()> {
        let mut last = Saver::locked(&self.last);
        last.retain(|(name, _)| name != file);
        last.push((file.to_string(), now()));
        let mut outdated = Vec::new();
        if self.def.max_to_keep > 0 {
            while last.len() > self.def.max_to_keep as usize {
                outdated.push(last.remove(0));
            }
        }
        let names: Vec<String> = last.iter().map(|l| l.0.clone()).collect();
        let names = if self.def.max_to_keep > 0 { names } else { vec![file.to_string()] };
        let times: Vec<f64> = last.iter().map(|l| l.1).collect();
        let update = CheckpointStateUpdate {
            model_checkpoint_path: file,
            all_model_checkpoint_paths: &names,
            latest_filename: Some(&options.latest_filename),
            save_relative_paths: self.save_relative_paths,
            all_model_checkpoint_timestamps: if times.len() == names.len() { &times } else { &[] },
            last_preserved_timestamp: Some(
                *Saver::locked(&self.next_kept) - f64::from(self.def.keep_checkpoint_every_n_hours) * 3600.0,
            ),
        };
        state::update_checkpoint_state(folder, &update)?;
        for (name, time) in outdated {
            let mut next_kept = Saver::locked(&self.next_kept);
            if time > *next_kept {
                *next_kept += f64::from(self.def.keep_checkpoint_every_n_hours) * 3600.0;
                continue;
            }
            drop(next_kept);
            state::remove_checkpoint(&name)?;
            let meta = state::meta_graph_filename(&name, &options.meta_graph_suffix);
            if Path::new(&meta).exists() {
                std::fs::remove_file(&meta)?;
            }
        }
        Ok(())
    }

    /// The checkpoints that this saver has saved and not deleted, oldest first.
    pub fn last_checkpoints(&self) -> Vec<String> {
        Saver::locked(&self.last).iter().map(|l| l.0.clone()).collect()
    }

    /// Tells the saver of checkpoints that an earlier process saved, oldest first; those that aren't there are left out.
    pub fn recover_last_checkpoints(&self, prefixes: &[String]) {
        let there: Vec<String> = prefixes.iter().filter(|p| state::checkpoint_exists(p)).cloned().collect();
        let times = state::get_checkpoint_mtimes(&there);
        *Saver::locked(&self.last) = there.into_iter().zip(times).collect();
    }

    /// Restores every variable from a checkpoint, V1 or V2.
    ///
    /// # Errors
    /// `NotFound` where there is no such checkpoint; an error that lists every key that is missing, or of another dtype
    /// or shape.
    pub fn restore(&self, session: &Session, prefix: impl AsRef<Path>) -> Result<()> {
        let Some(prefix) = prefix.as_ref().to_str() else { bail!(InvalidArgument, "the prefix of a checkpoint must be UTF-8") };
        if self.def.restore_op_name.is_empty() {
            return Ok(());
        }
        let filename = self.graph.get_tensor_by_name(&self.def.filename_tensor_name)?;
        let restore = self.graph.get_operation_by_name(&self.def.restore_op_name)?;
        let start = std::time::Instant::now();
        let done = session.run_targets(&[restore], &[(filename, &Tensor::from(prefix))]);
        tracing::debug!(prefix, elapsed = ?start.elapsed(), is_ok = done.is_ok(), "checkpoint restored");
        let Err(error) = done else { return Ok(()) };
        // Say all that is wrong at once, where the checkpoint itself can be read.
        match self.check(prefix) {
            Ok(report) if !report.is_complete() => {
                let hint = hint(&report);
                Err(Error::new(error.code(), format!("Restoring from checkpoint {prefix} failed: {report}{hint}")))
            }
            _ => Err(error.within(format!("restoring from checkpoint {prefix}"))),
        }
    }
}
