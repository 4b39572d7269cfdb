//! Savers: the nodes by which a graph saves and restores its variables, with TensorFlow's names.

use super::variable::Variable;
use crate::error::{Result, bail};
use crate::graph::attr::IntoAttr;
use crate::graph::{Graph, Operation, Output};
use crate::proto::{SaverDef, saver_def::CheckpointFormatVersion};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The options of a [`Saver`], with TensorFlow's defaults.
#[derive(Clone, Debug)]
pub struct SaverOptions {
    /// The variables and the keys by which they are saved; none for all that the graph saves, by their names.
    pub var_list: Option<Vec<(String, Variable)>>,
    /// Restored values are reshaped to their variables' shapes.
    pub reshape: bool,
    /// How many checkpoints are kept; 0 for all.
    pub max_to_keep: i32,
    /// One checkpoint is kept for good each time so many hours have passed.
    pub keep_checkpoint_every_n_hours: f32,
    /// The scope of the nodes.
    pub name: String,
    /// A graph without variables gives a saver that does nothing, rather than an error.
    pub allow_empty: bool,
    /// Steps in file names are padded to eight digits.
    pub pad_step_number: bool,
    /// The checkpoint state has paths relative to its own folder.
    pub save_relative_paths: bool,
    /// The default of the file name that is fed.
    pub filename: String,
    /// Write the old format of one file (V1).
    pub write_v1: bool,
    /// One file of values for each device that has variables.
    pub sharded: bool,
}

impl Default for SaverOptions {
    fn default() -> SaverOptions {
        SaverOptions {
            var_list: None,
            reshape: false,
            max_to_keep: 5,
            keep_checkpoint_every_n_hours: 10000.0,
            name: "save".to_string(),
            allow_empty: false,
            pad_step_number: false,
            save_relative_paths: false,
            filename: "model".to_string(),
            write_v1: false,
            sharded: false,
        }
    }
}

/// Saves and restores the variables of a graph (`tf.train.Saver`).
pub struct Saver {
    pub(super) graph: Graph,
    pub(super) def: SaverDef,
    pub(super) pad_step_number: bool,
    pub(super) save_relative_paths: bool,
    /// The checkpoints saved so far, oldest first, with the time of each in seconds since 1970.
    pub(super) last: Mutex<Vec<(String, f64)>>,
    /// When the next checkpoint is kept for good, in seconds since 1970.
    pub(super) next_kept: Mutex<f64>,
}

/// What is saved under one key: a variable, or a slice of a partitioned one.
struct Saveable {
    key: String,
    /// The shape and place of a slice; empty for a whole variable.
    slice: String,
    variable: Variable,
}

impl Saver {
    /// A saver of all variables of the graph.
    ///
    /// # Errors
    /// `InvalidArgument` where there are none.
    pub fn new(graph: &Graph) -> Result<Saver> {
        Saver::with_options(graph, &SaverOptions::default())
    }

    /// A saver with options.
    ///
    /// # Errors
    /// `InvalidArgument` where there are no variables, or two have one key.
    pub fn with_options(graph: &Graph, options: &SaverOptions) -> Result<Saver> {
        let saveables = saveables(graph, options)?;
        if saveables.is_empty() {
            if options.allow_empty {
                return Ok(Saver::from_def(graph, SaverDef::default()));
            }
            bail!(InvalidArgument, "No variables to save");
        }
        let def = build(graph, &saveables, options)?;
        let mut saver = Saver::from_def(graph, def);
        saver.pad_step_number = options.pad_step_number;
        saver.save_relative_paths = options.save_relative_paths;
        Ok(saver)
    }

    /// A saver whose nodes are in the graph already.
    pub fn from_def(graph: &Graph, def: SaverDef) -> Saver {
        let next_kept = super::files::now() + f64::from(def.keep_checkpoint_every_n_hours) * 3600.0;
        Saver {
            graph: graph.plain(),
            def,
            pad_step_number: false,
            save_relative_paths: false,
            last: Mutex::default(),
            next_kept: Mutex::new(next_kept),
        }
    }

    /// The names of the saver's nodes, and its settings.
    pub fn as_saver_def(&self) -> &SaverDef {
        &self.def
    }
}

fn saveables(graph: &Graph, options: &SaverOptions) -> Result<Vec<Saveable>> {
    let named = match &options.var_list {
        Some(list) => list.clone(),
        None => graph.global_variables().into_iter().map(|v| (v.op_name().to_string(), v)).collect(),
    };
    // Slices of one variable share its key; everything is in the order of the keys.
    let mut by_key: BTreeMap<String, Vec<Saveable>> = BTreeMap::new();
    for (key, variable) in named {
        for part in variable.parts() {
            let (key, slice) = match part.save_slice_info() {
                Some(info) if key == part.op_name() => (info.full_name.clone(), info.spec()),
                Some(info) => (key.clone(), info.spec()),
                None => (key.clone(), String::new()),
            };
            let entries = by_key.entry(key.clone()).or_default();
            if entries.iter().any(|e| e.slice == slice) {
                bail!(InvalidArgument, "At least two variables have the same name: {key}");
            }
            entries.push(Saveable { key, slice, variable: part });
        }
    }
    Ok(by_key.into_values().flatten().collect())
}

fn strings(values: impl Iterator<Item = String>) -> Result<Tensor> {
    let values: Vec<Bytes> = values.map(Bytes::from).collect();
    Tensor::from_strings(&[values.len()], values)
}

fn build(graph: &Graph, saveables: &[Saveable], options: &SaverOptions) -> Result<SaverDef> {
    let (g, _scope) = (graph.plain(), graph.name_scope(&options.name)?);
    let filename = {
        let scope = g.name_scope("filename")?;
        let input = g.named("input").constant(options.filename.as_str())?;
        g.named(scope.name()).placeholder_with_default(input, Shape::scalar())?
    };
    let filename = g.named("Const").placeholder_with_default(filename, Shape::scalar())?;
    let (save_tensor, restore) = if options.sharded {
        let per_device = by_device(&g, saveables)?;
        (sharded_save(&g, filename, &per_device, options)?, sharded_restore(&g, filename, &per_device, options.reshape)?)
    } else {
        let all: Vec<&Saveable> = saveables.iter().collect();
        let save = save_op(&g, filename, &all, options.write_v1)?;
        (g.with_dependencies(&[save], filename)?, restore_all(&g, filename, &all, options.reshape, "restore_all")?)
    };
    let version = if options.write_v1 { CheckpointFormatVersion::V1 } else { CheckpointFormatVersion::V2 };
    Ok(SaverDef {
        filename_tensor_name: graph.tensor_name(filename),
        save_tensor_name: graph.tensor_name(save_tensor),
        restore_op_name: graph.op_name(restore),
        max_to_keep: options.max_to_keep,
        sharded: options.sharded,
        keep_checkpoint_every_n_hours: options.keep_checkpoint_every_n_hours,
        version: version as i32,
    })
}

/// The value as it is saved: of a whole variable by reference, the reference; of a slice or a resource, what is read.
fn saved_value(Saveable { slice, variable, .. }: &Saveable) -> Result<Output> {
    if slice.is_empty() || variable.is_resource() { variable.graph_element() } else { variable.value() }
}

/// The saveables of each device, in the order of the devices' names.
fn by_device<'a>(g: &Graph, saveables: &'a [Saveable]) -> Result<BTreeMap<String, Vec<&'a Saveable>>> {
    let mut devices: BTreeMap<String, Vec<&Saveable>> = BTreeMap::new();
    for saveable in saveables {
        devices.entry(g.op_device(saveable.variable.op()?)).or_default().push(saveable);
    }
    Ok(devices)
}

/// Saves one file a device under temporary names, and then makes one checkpoint of them.
fn sharded_save(
    g: &Graph,
    prefix: Output,
    per_device: &BTreeMap<String, Vec<&Saveable>>,
    options: &SaverOptions,
) -> Result<Output> {
    let shard_prefix = if options.write_v1 {
        prefix
    } else {
        let _cpu = g.device("CPU");
        let on_s3 = g.op("StaticRegexFullMatch").input(prefix).attr("pattern", "^s3://.*").output()?;
        let beside = g.constant(".part")?;
        let within = g.constant("_temp/part")?;
        let suffix = g.op("Select").input(on_s3).input(beside).input(within).output()?;
        g.op("StringJoin").input_list(&[prefix, suffix]).output()?
    };
    let num_shards = g.named("num_shards").constant(per_device.len() as i32)?;
    let (mut files, mut saves, mut last) = (Vec::new(), Vec::new(), String::new());
    for (shard, (device, saveables)) in per_device.iter().enumerate() {
        last = if options.write_v1 { device.clone() } else { g.merged_device("/device:CPU:0", device) };
        let _device = g.device(&last);
        let file = g.call("ShardedFilename").arg(shard_prefix).arg(shard as i32).arg(num_shards).output()?;
        files.push(file);
        let save = save_op(g, file, saveables, options.write_v1)?;
        saves.push(g.with_dependencies(&[save], file)?.op);
    }
    let _saved = g.control_dependencies(&saves)?;
    if options.write_v1 {
        return g.op("ShardedFilespec").input(prefix).input(num_shards).output();
    }
    let _device = g.device(&last);
    let merge = {
        let scope = g.name_scope("MergeV2Checkpoints")?;
        let files = g.named("checkpoint_prefixes").stack(&files, 0)?;
        g.op("MergeV2Checkpoints").name(scope.name()).input(files).input(prefix).attr("delete_old_dirs", true).finish()?
    };
    let _merged = g.control_dependencies(&[merge])?;
    g.identity(prefix)
}

fn sharded_restore(g: &Graph, prefix: Output, per_device: &BTreeMap<String, Vec<&Saveable>>, reshape: bool) -> Result<Operation> {
    let mut restored = Vec::new();
    for (device, saveables) in per_device {
        let _device = g.device(device);
        restored.push(restore_all(g, prefix, saveables, reshape, "restore_shard")?);
    }
    g.named("restore_all").group(&restored)
}

/// Reads and assigns the values; `name` is the operation's that waits for all.
fn restore_all(g: &Graph, filename: Output, saveables: &[&Saveable], reshape: bool, name: &str) -> Result<Operation> {
    let restored = restore_op(g, filename, saveables)?;
    let mut assigned = Vec::new();
    for (saveable, value) in saveables.iter().zip(restored) {
        assigned.push(assign(g, saveable, value, reshape)?);
    }
    g.named(name).group(&assigned)
}

fn save_op(g: &Graph, filename: Output, saveables: &[&Saveable], v1: bool) -> Result<Operation> {
    let values = saveables.iter().map(|s| saved_value(s)).collect::<Result<Vec<_>>>()?;
    let slices = strings(saveables.iter().map(|s| s.slice.clone()))?;
    let (op, name, label) =
        if v1 { ("SaveSlices", "save", "shapes_and_slices") } else { ("SaveV2", "SaveV2", "shape_and_slices") };
    let scope = g.name_scope(name)?;
    let names = g.named("tensor_names").constant(strings(saveables.iter().map(|s| s.key.clone()))?)?;
    let slices = g.named(label).constant(slices)?;
    let builder = g.op(op).name(scope.name()).input(filename).input(names).input(slices);
    builder.input_list(&values).finish()
}

fn restore_op(g: &Graph, filename: Output, saveables: &[&Saveable]) -> Result<Vec<Output>> {
    let _cpu = g.device("/device:CPU:0");
    let scope = g.name_scope("RestoreV2")?;
    let names = g.named("tensor_names").constant(strings(saveables.iter().map(|s| s.key.clone()))?)?;
    let slices = g.named("shape_and_slices").constant(strings(saveables.iter().map(|s| s.slice.clone()))?)?;
    let dtypes: Vec<DType> = saveables.iter().map(|s| s.variable.dtype()).collect();
    let op = g.op("RestoreV2").name(scope.name()).input(filename).input(names).input(slices);
    op.attr("dtypes", dtypes.as_slice().into_attr()).outputs()
}

fn assign(g: &Graph, saveable: &Saveable, mut value: Output, reshape: bool) -> Result<Operation> {
    let variable = &saveable.variable;
    if reshape {
        let dims = variable.shape().to_dims();
        let Some(dims) = dims else { bail!(Unimplemented, "reshape with the variable {} of unknown shape", variable.name()) };
        let dims: Vec<i32> = dims.iter().map(|&d| d as i32).collect();
        value = g.reshape(value, dims)?;
    }
    if variable.is_resource() {
        let _device = g.device(&g.op_device(variable.op()?));
        let value = g.identity(value)?;
        return g.op("AssignVariableOp").input(variable.handle()?).input(value).attr("dtype", variable.dtype()).finish();
    }
    let validate = !reshape && variable.shape().is_fully_known();
    g.op("Assign").input(variable.handle()?).input(value).attr("validate_shape", validate).finish()
}
