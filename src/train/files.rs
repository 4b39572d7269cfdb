//! Saving and restoring: checkpoint files, the checkpoint state, and reports of what doesn't fit.

use super::Saver;
use super::meta_graph::{ExportOptions, export_meta_graph};
use crate::bundle::CheckpointReader;
use crate::bundle::state::{self, CheckpointStateUpdate};
use crate::error::{Error, Result, bail};
use crate::graph::attr;
use crate::session::Session;
use crate::tensor::{DType, Shape, Tensor};
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

/// What a checkpoint and a graph disagree on.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// The keys that were restored.
    pub restored: Vec<String>,
    /// The keys that the checkpoint lacks, each with the most similar keys that it has.
    pub missing: Vec<(String, Vec<String>)>,
    /// The keys that the checkpoint has and the graph does not.
    pub extra: Vec<String>,
    /// Keys with another dtype or shape: key, in the checkpoint, in the graph.
    pub mismatched: Vec<(String, String, String)>,
}

impl RestoreReport {
    /// True when every variable of the graph could be restored.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }
}

impl std::fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables fit", self.restored.len())?;
        for (key, near) in &self.missing {
            write!(f, "; Key {key} not found in checkpoint")?;
            if !near.is_empty() {
                write!(f, " (it has {})", near.join(", "))?;
            }
        }
        for (key, stored, wanted) in &self.mismatched {
            write!(f, "; {key} is {stored} in the checkpoint, {wanted} in the graph")?;
        }
        if !self.extra.is_empty() {
            write!(f, "; {} keys of the checkpoint are not in the graph: {}", self.extra.len(), self.extra.join(", "))?;
        }
        Ok(())
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
                let hint = lstm_hint(&report);
                Err(Error::new(error.code(), format!("Restoring from checkpoint {prefix} failed: {report}{hint}")))
            }
            _ => Err(error.within(format!("restoring from checkpoint {prefix}"))),
        }
    }

    /// What would be restored, key by key: what the nodes of this saver name, against what the checkpoint has.
    ///
    /// # Errors
    /// As opening the checkpoint; `InvalidArgument` where the saver's nodes can't be read.
    pub fn check(&self, prefix: &str) -> Result<RestoreReport> {
        let reader = CheckpointReader::open(prefix)?;
        let stored = reader.variables()?;
        let mut report = RestoreReport::default();
        let mut wanted = Vec::new();
        for (key, dtype, shape) in self.keys()? {
            match stored.get(&key) {
                None => {
                    let near = nearest(&key, stored.keys().map(|k| k.as_str()));
                    report.missing.push((key.clone(), near));
                }
                Some((stored_dtype, stored_shape)) if *stored_dtype != dtype || !shape.is_compatible_with(stored_shape) => {
                    report.mismatched.push((key.clone(), format!("{stored_dtype}{stored_shape}"), format!("{dtype}{shape}")));
                }
                Some(_) => report.restored.push(key.clone()),
            }
            wanted.push(key);
        }
        report.extra = stored.keys().filter(|k| !wanted.contains(k)).map(|k| k.to_string()).collect();
        Ok(report)
    }

    /// Restores what fits and says what doesn't. `rename` gives the key in the checkpoint for a key of the graph.
    ///
    /// # Errors
    /// As opening and reading the checkpoint.
    pub fn restore_partial(&self, session: &Session, prefix: &str, rename: impl Fn(&str) -> String) -> Result<RestoreReport> {
        let reader = CheckpointReader::open(prefix)?;
        let stored = reader.variables()?;
        let mut report = RestoreReport::default();
        let mut used = Vec::new();
        for (key, dtype, shape) in self.keys()? {
            let from = rename(&key);
            match stored.get(&from) {
                None => report.missing.push((key, nearest(&from, stored.keys().map(|k| k.as_str())))),
                Some((stored_dtype, stored_shape)) if *stored_dtype != dtype || !shape.is_compatible_with(stored_shape) => {
                    report.mismatched.push((key, format!("{stored_dtype}{stored_shape}"), format!("{dtype}{shape}")));
                }
                Some(_) => {
                    let value = reader.read(&from)?;
                    let Some(variable) = session.state().find::<crate::graph::op::Variable>("", &key) else {
                        let made =
                            session.state().resource("", &key, || Ok(crate::graph::op::Variable::new(&*key, dtype, shape)))?;
                        made.set(Some(value));
                        report.restored.push(key);
                        used.push(from);
                        continue;
                    };
                    variable.set(Some(value));
                    report.restored.push(key);
                }
            }
            used.push(from);
        }
        report.extra = stored.keys().filter(|k| !used.contains(k)).map(|k| k.to_string()).collect();
        Ok(report)
    }

    /// The keys that the saver restores, with the dtype and shape of what each is assigned to.
    fn keys(&self) -> Result<Vec<(String, DType, Shape)>> {
        let g = &self.graph;
        let restore = g.get_operation_by_name(&self.def.restore_op_name)?;
        let mut keys = Vec::new();
        let mut stack = g.control_inputs(restore);
        while let Some(op) = stack.pop() {
            if g.op_type(op) == "NoOp" {
                stack.extend(g.control_inputs(op));
                continue;
            }
            let inputs = g.inputs(op);
            let (Some(&variable), Some(&value)) = (inputs.first(), inputs.get(1)) else { continue };
            let mut source = value;
            while matches!(&*g.op_type(source.op), "Identity" | "Reshape") {
                source = g.input(source.op, 0)?;
            }
            if !g.op_type(source.op).starts_with("Restore") {
                continue;
            }
            let names = attr::tensor(&g.get_attr(g.input(source.op, 1)?.op, "value")?)?;
            let Some(key) = names.strings()?.get(source.index as usize).cloned() else { continue };
            let dtype = g.dtype(value)?;
            let shape = attr::shape(&g.get_attr(variable.op, "shape")?).unwrap_or_default();
            keys.push((String::from_utf8_lossy(&key).into_owned(), dtype, shape));
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(keys)
    }
}

/// Up to three keys that share the last part of the name.
fn nearest<'a>(key: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let last = |k: &str| k.rsplit('/').next().unwrap_or(k).to_string();
    let wanted = last(key);
    all.filter(|k| last(k) == wanted || k.ends_with(key) || key.ends_with(k)).take(3).map(str::to_string).collect()
}

/// Cells of TensorFlow before 1.2 named their variables otherwise.
fn lstm_hint(report: &RestoreReport) -> &'static str {
    let old = |k: &str| k.ends_with("/weights") || k.ends_with("/biases") || k.ends_with("/Matrix") || k.ends_with("/Bias");
    let new = |k: &str| k.ends_with("/kernel") || k.ends_with("/bias");
    if report.extra.iter().any(|k| old(k)) && report.missing.iter().any(|(k, _)| new(k)) {
        "; the checkpoint has the variable names of old RNN cells: restore with a rename from kernel to weights and from bias to biases"
    } else {
        ""
    }
}
