//! Checkpoints and files.

use crate::bundle::{
    BundleReader, BundleWriter, MergeOptions, ShapeAndSlice, TensorSlice, TensorSliceReader, TensorSliceWriter, index_filename,
    io_error, matching_files, merge_v2_checkpoints,
};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{DType, Dims, Shape, Tensor};
use bytes::Bytes;
use std::any::Any;
use std::path::Path;
use std::sync::{Arc, PoisonError};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SaveV2",
        ins: &["prefix: string", "tensor_names: string", "shape_and_slices: string", "tensors: dtypes"],
        outs: &[],
        attrs: &["dtypes: list(type) >= 1"],
        shape: save_slices_shape,
        kernel: Kernel::Stateful(save_v2),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "RestoreV2",
        ins: &["prefix: string", "tensor_names: string", "shape_and_slices: string"],
        outs: &["tensors: dtypes"],
        attrs: &["dtypes: list(type) >= 1"],
        shape: restore_v2_shape,
        kernel: Kernel::Stateful(restore_v2),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "Save",
        ins: &["filename: string", "tensor_names: string", "data: T"],
        outs: &[],
        attrs: &["T: list(type) >= 1"],
        shape: save_shape,
        kernel: Kernel::Stateful(|ctx| save_v1(ctx, false)),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "SaveSlices",
        ins: &["filename: string", "tensor_names: string", "shapes_and_slices: string", "data: T"],
        outs: &[],
        attrs: &["T: list(type) >= 1"],
        shape: save_slices_shape,
        kernel: Kernel::Stateful(|ctx| save_v1(ctx, true)),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "Restore",
        ins: &["file_pattern: string", "tensor_name: string"],
        outs: &["tensor: dt"],
        attrs: &["dt: type", "preferred_shard: int = -1"],
        shape: restore_shape,
        kernel: Kernel::Stateful(restore_v1),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "RestoreSlice",
        ins: &["file_pattern: string", "tensor_name: string", "shape_and_slice: string"],
        outs: &["tensor: dt"],
        attrs: &["dt: type", "preferred_shard: int = -1"],
        shape: restore_shape,
        kernel: Kernel::Stateful(restore_v1),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "MergeV2Checkpoints",
        ins: &["checkpoint_prefixes: string", "destination_prefix: string"],
        outs: &[],
        attrs: &["delete_old_dirs: bool = true", "allow_missing_files: bool = false"],
        shape: |ctx| {
            ctx.input(0).with_rank(1)?;
            ctx.input(1).with_rank(0).map(drop)
        },
        kernel: Kernel::Stateful(merge),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "ShardedFilename",
        ins: &["basename: string", "shard: int32", "num_shards: int32"],
        outs: &["filename: string"],
        attrs: &[],
        shape: scalars,
        kernel: Kernel::Pure(sharded_filename),
        grad: Grad::Missing,
        rows: &[
            "str \"d/m\", i32 3, i32 12 => str \"d/m-00003-of-00012\"",
            "str \"m\", i32 -1, i32 1234567 => str \"m--0001-of-1234567\"",
        ],
    },
    Op {
        name: "ShardedFilespec",
        ins: &["basename: string", "num_shards: int32"],
        outs: &["filename: string"],
        attrs: &[],
        shape: scalars,
        kernel: Kernel::Pure(sharded_filename),
        grad: Grad::Missing,
        rows: &["str \"d/m\", i32 12 => str \"d/m-?????-of-00012\""],
    },
    Op {
        name: "ReadFile",
        ins: &["filename: string"],
        outs: &["contents: string"],
        attrs: &[],
        shape: scalars,
        kernel: Kernel::Stateful(read_file),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "WriteFile",
        ins: &["filename: string", "contents: string"],
        outs: &[],
        attrs: &[],
        shape: scalars,
        kernel: Kernel::Stateful(write_file),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "MatchingFiles",
        ins: &["pattern: string"],
        outs: &["filenames: string"],
        attrs: &[],
        shape: |ctx| {
            ctx.input(0).with_rank_at_most(1)?;
            ctx.set(0, Shape::vector(None))
        },
        kernel: Kernel::Stateful(find_files),
        grad: Grad::Missing,
        rows: &[],
    },
];

/// All inputs and outputs are scalars.
fn scalars(ctx: &mut InferCtx) -> Result<()> {
    for input in 0..ctx.num_inputs() {
        ctx.input(input).with_rank(0)?;
    }
    super::shape::scalar(ctx)
}

/// Checks that an input is a vector with one element for each tensor that is saved.
fn vector_of_names(ctx: &InferCtx, input: usize, fixed_inputs: usize) -> Result<()> {
    let count = ctx.num_inputs().saturating_sub(fixed_inputs);
    match ctx.input(input).with_rank(1)?.dim(0) {
        Some(size) if size != count => bail!(InvalidArgument, "Dimension must be {count} but is {size}"),
        _ => Ok(()),
    }
}

fn save_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    vector_of_names(ctx, 1, 2)
}

fn save_slices_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    vector_of_names(ctx, 1, 3)?;
    vector_of_names(ctx, 2, 3)
}

/// The shape of a restored tensor by its specification.
fn restored_shape(spec: &Bytes) -> Result<Shape> {
    Ok(if spec.is_empty() { Shape::unknown() } else { Shape::known(&text(spec)?.parse::<ShapeAndSlice>()?.slice_dims) })
}

fn restore_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    let names = ctx.input(1).with_rank(1)?;
    names.merge(&ctx.input(2).with_rank(1)?)?;
    let Some(specs) = ctx.constant(2) else { return Ok(()) };
    let specs = specs.strings()?;
    if specs.len() != ctx.num_outputs() {
        bail!(InvalidArgument, "The number of shape_and_slice doesn't match tensor outputs.");
    }
    for (output, spec) in specs.iter().enumerate() {
        ctx.set(output, restored_shape(spec)?)?;
    }
    Ok(())
}

fn restore_shape(ctx: &mut InferCtx) -> Result<()> {
    for input in 0..ctx.num_inputs() {
        ctx.input(input).with_rank(0)?;
    }
    match ctx.constant(2) {
        Some(spec) => ctx.set(0, restored_shape(&only(&spec)?)?),
        None => Ok(()),
    }
}

/// A name or path. TensorFlow takes any bytes; here it must be UTF-8, as all names in graphs are.
fn text(bytes: &Bytes) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::invalid_argument(format!("expected a string of UTF-8, got \"{}\"", bytes.escape_ascii())))
}

/// The only element of a tensor of strings.
fn only(tensor: &Tensor) -> Result<Bytes> {
    match tensor.strings()? {
        [one] => Ok(one.clone()),
        many => bail!(InvalidArgument, "expected a single string, got {}", many.len()),
    }
}

/// An input that must be a single string, by the words of its op's error.
fn single(ctx: &KernelCtx, input: usize, error: impl Fn(usize) -> String) -> Result<String> {
    let tensor = ctx.input(input)?;
    match tensor.strings()? {
        [one] => Ok(text(one)?.to_string()),
        many => Err(Error::invalid_argument(error(many.len()))),
    }
}

/// Names and specifications of [`save_v2`] and [`restore_v2`].
fn names_and_specs(ctx: &KernelCtx) -> Result<Vec<(String, String)>> {
    let (names, specs) = (ctx.input(1)?, ctx.input(2)?);
    if names.rank() != 1 || specs.rank() != 1 {
        bail!(
            InvalidArgument,
            "Input tensor_names and shape_and_slices should be an 1-D tensors, got {} and {} instead.",
            names.shape(),
            specs.shape()
        );
    }
    if names.len() != specs.len() {
        bail!(
            InvalidArgument,
            "tensor_names and shape_and_slices have different number of elements: {} vs. {}",
            names.len(),
            specs.len()
        );
    }
    let pairs = names.strings()?.iter().zip(specs.strings()?);
    pairs.map(|(name, spec)| Ok((text(name)?.to_string(), text(spec)?.to_string()))).collect()
}

fn prefix_input(ctx: &KernelCtx) -> Result<String> {
    single(ctx, 0, |n| format!("Input prefix should have a single element, got {n} instead."))
}

fn save_v2(ctx: &mut KernelCtx) -> Result<()> {
    let prefix = prefix_input(ctx)?;
    let names = names_and_specs(ctx)?;
    let tensors = ctx.num_inputs() - 3;
    if names.len() != tensors {
        bail!(InvalidArgument, "Got {} tensor names but {tensors} tensors.", names.len());
    }
    let mut writer = BundleWriter::new(&prefix)?;
    for (i, (name, spec)) in names.iter().enumerate() {
        let tensor = ctx.input(3 + i)?;
        if spec.is_empty() {
            writer.add(name, tensor)?;
        } else {
            let spec: ShapeAndSlice = spec.parse()?;
            writer.add_slice(name, &spec.dims, &spec.slice, tensor)?;
        }
    }
    writer.finish()
}

fn restore_v2(ctx: &mut KernelCtx) -> Result<()> {
    let prefix = prefix_input(ctx)?;
    let expected = ctx.node().output_types.clone();
    let count = ctx.input(1)?.len();
    if count != expected.len() {
        bail!(InvalidArgument, "Got {count} tensor names, but {} expected dtypes.", expected.len());
    }
    let names = names_and_specs(ctx)?;
    if !index_filename(Path::new(&prefix)).exists() {
        let reader = slice_reader(ctx, &prefix)?;
        for (i, (name, spec)) in names.iter().enumerate() {
            let tensor = read_v1(&reader, &prefix, name, spec, expected[i])?;
            ctx.set(i, tensor)?;
        }
        return Ok(());
    }
    let reader = BundleReader::open(&prefix)?;
    let stored = names.iter().map(|(name, _)| reader.dtype_and_dims(name)).collect::<Result<Vec<_>>>()?;
    let mut wrong = Vec::new();
    for (((name, _), &expected), (dtype, _)) in names.iter().zip(&expected).zip(&stored) {
        if expected != *dtype {
            let (expected, dtype) = (expected.interface_name(), dtype.interface_name());
            wrong.push(format!("tensor_name = {name}; expected dtype {expected} does not equal original dtype {dtype}"));
        }
    }
    if !wrong.is_empty() {
        bail!(InvalidArgument, "{}", wrong.join("\n"));
    }
    for (i, ((name, spec), (_, dims))) in names.iter().zip(stored).enumerate() {
        let tensor = if spec.is_empty() {
            reader.read(name)?
        } else {
            let spec: ShapeAndSlice = spec.parse()?;
            if spec.dims != dims {
                bail!(
                    InvalidArgument,
                    "tensor_name = {name}; shape in shape_and_slice spec {} does not match the shape stored in checkpoint: {}",
                    Shape::known(&spec.dims),
                    Shape::known(&dims)
                );
            }
            reader.read_slice(name, &spec.slice)?
        };
        ctx.set(i, tensor)?;
    }
    Ok(())
}

fn save_v1(ctx: &KernelCtx, slices: bool) -> Result<()> {
    let path = single(ctx, 0, |n| format!("Input 0 (filename) must be a string scalar; got a tensor of {n} elements"))?;
    let fixed = if slices { 3 } else { 2 };
    let names = ctx.input(1)?.strings()?;
    let specs = if slices { ctx.input(2)?.strings()? } else { &[] };
    if slices && specs.len() != names.len() {
        bail!(InvalidArgument, "Expected {} elements for the tensor shapes and slices but got {}", names.len(), specs.len());
    }
    if ctx.num_inputs() != names.len() + fixed {
        bail!(
            InvalidArgument,
            "Expected totally {} inputs as input #1 (which is a string tensor of saved names) contains {} names, but \
             received {} inputs",
            names.len() + fixed,
            names.len(),
            ctx.num_inputs()
        );
    }
    let mut writer = TensorSliceWriter::new(&path);
    for (i, name) in names.iter().enumerate() {
        let tensor = ctx.input(fixed + i)?;
        match specs.get(i).filter(|s| !s.is_empty()) {
            None => writer.add(text(name)?, tensor)?,
            Some(spec) => {
                let spec: ShapeAndSlice = text(spec)?.parse()?;
                writer.add_slice(text(name)?, &spec.dims, &spec.slice, tensor)?;
            }
        }
    }
    writer.finish()
}

/// The reader of V1 files, which the ops of one step share, as there is one for each variable.
fn slice_reader(ctx: &KernelCtx, pattern: &str) -> Result<Arc<TensorSliceReader>> {
    let key = format!("TensorSliceReader {pattern}");
    let lock = || ctx.step().objects.lock().unwrap_or_else(PoisonError::into_inner);
    let cached = lock().get(&key).cloned();
    if let Some(reader) = cached.and_then(|r| r.downcast::<TensorSliceReader>().ok()) {
        return Ok(reader);
    }
    let reader = Arc::new(TensorSliceReader::open(pattern)?);
    let object: Arc<dyn Any + Send + Sync> = reader.clone();
    lock().insert(key, object);
    Ok(reader)
}

fn read_v1(reader: &TensorSliceReader, pattern: &str, name: &str, spec: &str, expected: DType) -> Result<Tensor> {
    let (dtype, dims) = reader.dtype_and_dims(name)?;
    if dtype != expected {
        bail!(
            InvalidArgument,
            "Expected to restore a tensor of type {}, got a tensor of type {} instead: tensor_name = {name}",
            expected.interface_name(),
            dtype.interface_name()
        );
    }
    let slice = if spec.is_empty() { TensorSlice::full(dims.len()) } else { slice_of(spec, &dims)? };
    reader.read_slice(name, &slice).map_err(|e| e.within(pattern.to_string()))
}

fn slice_of(spec: &str, dims: &Dims) -> Result<TensorSlice> {
    let spec: ShapeAndSlice = spec.parse()?;
    if spec.dims != *dims {
        bail!(
            InvalidArgument,
            "Shape in shape_and_slice spec does not match the shape in the save file: {}, save file shape: {}",
            Shape::known(&spec.dims),
            Shape::known(dims)
        );
    }
    Ok(spec.slice)
}

fn restore_v1(ctx: &mut KernelCtx) -> Result<()> {
    let words = |what: &'static str| move |n| format!("{what} must be a string scalar; got a tensor of {n} elements");
    let pattern = single(ctx, 0, words("Input 0 (file_pattern)"))?;
    let name = single(ctx, 1, words("Input 1 (tensor_name)"))?;
    let spec = match ctx.num_inputs() {
        2 => String::new(),
        _ => single(ctx, 2, |n| format!("Expected 1 element for the tensor shape and slice but got {n}"))?,
    };
    let reader = slice_reader(ctx, &pattern)?;
    let tensor = read_v1(&reader, &pattern, &name, &spec, ctx.node().output_types[0])?;
    ctx.set(0, tensor)
}

fn merge(ctx: &mut KernelCtx) -> Result<()> {
    let (prefixes, merged) = (ctx.input(0)?, ctx.input(1)?);
    if prefixes.rank() != 1 {
        bail!(InvalidArgument, "Input checkpoint_prefixes should be an 1-D tensor, got {} instead.", prefixes.shape());
    }
    if merged.rank() != 0 {
        bail!(InvalidArgument, "Input destination_prefix should be a scalar tensor, got {} instead.", merged.shape());
    }
    let node = ctx.node();
    let options = MergeOptions {
        delete_old_dirs: node.boolean("delete_old_dirs")?,
        allow_missing_files: node.boolean("allow_missing_files")?,
    };
    let prefixes = prefixes.strings()?.iter().map(text).collect::<Result<Vec<_>>>()?;
    merge_v2_checkpoints(&prefixes, text(&only(merged)?)?, options)
}

fn sharded_filename(ctx: &mut KernelCtx) -> Result<()> {
    let names = if ctx.num_inputs() == 3 { &["basename", "shard", "num_shards"][..] } else { &["basename", "num_shards"] };
    for (i, name) in names.iter().enumerate() {
        let input = ctx.input(i)?;
        if !input.is_scalar() {
            bail!(InvalidArgument, "{name} must be a scalar, got shape {}", input.shape());
        }
    }
    let mut name = only(ctx.input(0)?)?.to_vec();
    // TensorFlow's formatting ends the name at a byte 0.
    name.truncate(name.iter().position(|&b| b == 0).unwrap_or(name.len()));
    let suffix = match ctx.num_inputs() {
        3 => format!("-{:05}-of-{:05}", ctx.int_input(1)?, ctx.int_input(2)?),
        _ => format!("-?????-of-{:05}", ctx.int_input(1)?),
    };
    name.extend_from_slice(suffix.as_bytes());
    ctx.set(0, Tensor::string(name))
}

fn filename_input(ctx: &KernelCtx) -> Result<String> {
    let tensor = ctx.input(0)?;
    if !tensor.is_scalar() {
        bail!(InvalidArgument, "Input filename tensor must be scalar, but had shape: {}", tensor.shape());
    }
    Ok(text(&only(tensor)?)?.to_string())
}

fn read_file(ctx: &mut KernelCtx) -> Result<()> {
    let path = filename_input(ctx)?;
    let contents = std::fs::read(&path).map_err(|e| io_error(Path::new(&path), &e))?;
    ctx.set(0, Tensor::string(contents))
}

fn write_file(ctx: &mut KernelCtx) -> Result<()> {
    let path = filename_input(ctx)?;
    let contents = ctx.input(1)?;
    if !contents.is_scalar() {
        bail!(InvalidArgument, "Contents tensor must be scalar, but had shape: {}", contents.shape());
    }
    let contents = only(contents)?;
    let path = Path::new(&path);
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        std::fs::create_dir_all(directory).map_err(|e| io_error(directory, &e))?;
    }
    std::fs::write(path, contents).map_err(|e| io_error(path, &e))
}

fn find_files(ctx: &mut KernelCtx) -> Result<()> {
    let patterns = ctx.input(0)?;
    if patterns.rank() > 1 {
        bail!(InvalidArgument, "Input patterns tensor must be scalar or vector, but had shape: {}", patterns.shape());
    }
    let mut files = Vec::new();
    for pattern in patterns.strings()? {
        files.extend(matching_files(text(pattern)?).into_iter().map(Bytes::from));
    }
    files.sort();
    ctx.set(0, Tensor::from_strings(&[files.len()], files)?)
}

impl Graph {
    /// Reads a whole file (`tf.io.read_file`).
    ///
    /// # Errors
    /// `InvalidArgument` if `filename` isn't a scalar string.
    pub fn read_file(&self, filename: Output) -> Result<Output> {
        self.op("ReadFile").input(filename).output()
    }

    /// Writes a whole file, and the directories that it needs (`tf.io.write_file`).
    ///
    /// # Errors
    /// `InvalidArgument` if an input isn't a scalar string.
    pub fn write_file(&self, filename: Output, contents: Output) -> Result<Operation> {
        self.op("WriteFile").input(filename).input(contents).finish()
    }

    /// The files that a pattern, or one of several, matches, sorted (`tf.io.matching_files`).
    ///
    /// # Errors
    /// `InvalidArgument` if `pattern` isn't a string or a vector of strings.
    pub fn matching_files(&self, pattern: Output) -> Result<Output> {
        self.op("MatchingFiles").input(pattern).output()
    }
}

#[cfg(test)]
mod tests;
