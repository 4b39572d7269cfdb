//! `SequenceExample` messages as tensors.

use super::example::{Dense, finish_ragged, finish_sparse};
use super::wire::{Column, Features, feature_list, running_sum, sequence_example};
use super::{Batch, Outputs, key_list, single_string};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;

const CONTEXT_TYPES: &str = "context_sparse_types: list({float, int64, string}) >= 0 = []";
const CONTEXT_DENSE: &str = "Tcontext_dense: list({float, int64, string}) >= 0 = []";
const LIST_DENSE: &str = "feature_list_dense_types: list({float, int64, string}) >= 0 = []";
const LIST_SPARSE: &str = "feature_list_sparse_types: list({float, int64, string}) >= 0 = []";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ParseSequenceExample",
        ins: &["serialized: string", "debug_name: string", "context_dense_defaults: Tcontext_dense"],
        outs: &[
            "context_sparse_indices: Ncontext_sparse * int64",
            "context_sparse_values: context_sparse_types",
            "context_sparse_shapes: Ncontext_sparse * int64",
            "context_dense_values: Tcontext_dense",
            "feature_list_sparse_indices: Nfeature_list_sparse * int64",
            "feature_list_sparse_values: feature_list_sparse_types",
            "feature_list_sparse_shapes: Nfeature_list_sparse * int64",
            "feature_list_dense_values: feature_list_dense_types",
            "feature_list_dense_lengths: Nfeature_list_dense * int64",
        ],
        attrs: &[
            "feature_list_dense_missing_assumed_empty: list(string) >= 0",
            "context_sparse_keys: list(string) >= 0",
            "context_dense_keys: list(string) >= 0",
            "feature_list_sparse_keys: list(string) >= 0",
            "feature_list_dense_keys: list(string) >= 0",
            "Ncontext_sparse: int >= 0 = 0",
            "Ncontext_dense: int >= 0 = 0",
            "Nfeature_list_sparse: int >= 0 = 0",
            "Nfeature_list_dense: int >= 0 = 0",
            CONTEXT_TYPES,
            CONTEXT_DENSE,
            LIST_DENSE,
            "context_dense_shapes: list(shape) >= 0 = []",
            LIST_SPARSE,
            "feature_list_dense_shapes: list(shape) >= 0 = []",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank(1)?;
            shapes(ctx, true)
        },
        kernel: Kernel::Pure(parse_by_attrs),
        grad: Grad::None("strings"),
        rows: &["feature_list_dense_missing_assumed_empty=['b'], context_sparse_keys=[], context_dense_keys=['a'], \
             feature_list_sparse_keys=[], feature_list_dense_keys=['b'], Ncontext_dense=1, Nfeature_list_dense=1, \
             context_dense_shapes=[shape[]], feature_list_dense_types=[DT_INT64], feature_list_dense_shapes=[shape[]]; \
             str[\"\"], str{0}[], i64 7 => i64[7], i64{1,0}[], i64[0]"],
    },
    Op {
        name: "ParseSequenceExampleV2",
        ins: &[
            "serialized: string",
            "debug_name: string",
            "context_sparse_keys: string",
            "context_dense_keys: string",
            "context_ragged_keys: string",
            "feature_list_sparse_keys: string",
            "feature_list_dense_keys: string",
            "feature_list_ragged_keys: string",
            "feature_list_dense_missing_assumed_empty: bool",
            "context_dense_defaults: Tcontext_dense",
        ],
        outs: &[
            "context_sparse_indices: Ncontext_sparse * int64",
            "context_sparse_values: context_sparse_types",
            "context_sparse_shapes: Ncontext_sparse * int64",
            "context_dense_values: Tcontext_dense",
            "context_ragged_values: context_ragged_value_types",
            "context_ragged_row_splits: context_ragged_split_types",
            "feature_list_sparse_indices: Nfeature_list_sparse * int64",
            "feature_list_sparse_values: feature_list_sparse_types",
            "feature_list_sparse_shapes: Nfeature_list_sparse * int64",
            "feature_list_dense_values: feature_list_dense_types",
            "feature_list_dense_lengths: Nfeature_list_dense * int64",
            "feature_list_ragged_values: feature_list_ragged_value_types",
            "feature_list_ragged_outer_splits: feature_list_ragged_split_types",
            "feature_list_ragged_inner_splits: feature_list_ragged_split_types",
        ],
        attrs: &[
            "Ncontext_sparse: int >= 0 = 0",
            CONTEXT_DENSE,
            CONTEXT_TYPES,
            "context_ragged_value_types: list({float, int64, string}) >= 0 = []",
            "context_ragged_split_types: list({int32, int64}) >= 0 = []",
            "context_dense_shapes: list(shape) >= 0 = []",
            "Nfeature_list_sparse: int >= 0 = 0",
            "Nfeature_list_dense: int >= 0 = 0",
            LIST_DENSE,
            LIST_SPARSE,
            "feature_list_ragged_value_types: list({float, int64, string}) >= 0 = []",
            "feature_list_ragged_split_types: list({int32, int64}) >= 0 = []",
            "feature_list_dense_shapes: list(shape) >= 0 = []",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank_at_most(1)?;
            shapes(ctx, true)
        },
        kernel: Kernel::Pure(parse_v2),
        grad: Grad::None("strings"),
        rows: &["Nfeature_list_sparse=1, feature_list_sparse_types=[DT_INT64]; \
             str \"\\x12\\x0f\\n\\r\\n\\x01a\\x12\\x08\\n\\x06\\x1a\\x04\\n\\x02\\x05\\x06\", str \"\", str{0}[], str{0}[], str{0}[], str[\"a\"], str{0}[], \
             str{0}[], bool{0}[], () => i64[[0 0] [0 1]], i64[5 6], i64[1 2]"],
    },
    Op {
        name: "ParseSingleSequenceExample",
        ins: &[
            "serialized: string",
            "feature_list_dense_missing_assumed_empty: string",
            "context_sparse_keys: Ncontext_sparse * string",
            "context_dense_keys: Ncontext_dense * string",
            "feature_list_sparse_keys: Nfeature_list_sparse * string",
            "feature_list_dense_keys: Nfeature_list_dense * string",
            "context_dense_defaults: Tcontext_dense",
            "debug_name: string",
        ],
        outs: &[
            "context_sparse_indices: Ncontext_sparse * int64",
            "context_sparse_values: context_sparse_types",
            "context_sparse_shapes: Ncontext_sparse * int64",
            "context_dense_values: Tcontext_dense",
            "feature_list_sparse_indices: Nfeature_list_sparse * int64",
            "feature_list_sparse_values: feature_list_sparse_types",
            "feature_list_sparse_shapes: Nfeature_list_sparse * int64",
            "feature_list_dense_values: feature_list_dense_types",
        ],
        attrs: &[
            "Ncontext_sparse: int >= 0 = 0",
            "Ncontext_dense: int >= 0 = 0",
            "Nfeature_list_sparse: int >= 0 = 0",
            "Nfeature_list_dense: int >= 0 = 0",
            CONTEXT_TYPES,
            CONTEXT_DENSE,
            LIST_DENSE,
            "context_dense_shapes: list(shape) >= 0 = []",
            LIST_SPARSE,
            "feature_list_dense_shapes: list(shape) >= 0 = []",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank(0)?;
            shapes(ctx, false)
        },
        kernel: Kernel::Pure(parse_single),
        grad: Grad::None("strings"),
        rows: &["Nfeature_list_dense=1, feature_list_dense_types=[DT_INT64], feature_list_dense_shapes=[shape[2]]; \
             str \"\\x12\\x0f\\n\\r\\n\\x01a\\x12\\x08\\n\\x06\\x1a\\x04\\n\\x02\\x05\\x06\", str{0}[], (), (), (), (str \"a\"), (), str \"\" => i64[[5 6]]"],
    },
];

fn optional_types(ctx: &InferCtx, name: &str) -> Result<usize> {
    if ctx.has_attr(name) { Ok(ctx.dtypes(name)?.len()) } else { Ok(0) }
}

/// The shapes of the outputs; those of the lengths of dense lists only where there are such outputs.
fn shapes(ctx: &mut InferCtx, lengths: bool) -> Result<()> {
    let serialized = ctx.input(0);
    let rank = serialized.rank();
    let mut next = 0;
    let mut add = |ctx: &mut InferCtx, shape: Shape| -> Result<()> {
        next += 1;
        ctx.set(next - 1, shape)
    };
    let rows = if rank == Some(1) { serialized.dim(0).map(|n| n + 1) } else { None };
    let sparse =
        |ctx: &mut InferCtx, add: &mut dyn FnMut(&mut InferCtx, Shape) -> Result<()>, n: usize, more: usize| -> Result<()> {
            let rank = rank.map(|r| r + more);
            (0..n).try_for_each(|_| add(ctx, Shape::matrix(None, rank)))?;
            (0..n).try_for_each(|_| add(ctx, Shape::vector(None)))?;
            (0..n).try_for_each(|_| add(ctx, Shape::vector(rank)))
        };
    let n = ctx.dtypes("context_sparse_types")?.len();
    sparse(ctx, &mut add, n, 1)?;
    for shape in ctx.shapes("context_dense_shapes")? {
        add(ctx, serialized.concatenate(&shape))?;
    }
    let ragged = optional_types(ctx, "context_ragged_value_types")?;
    (0..ragged).try_for_each(|_| add(ctx, Shape::vector(None)))?;
    (0..ragged).try_for_each(|_| add(ctx, Shape::vector(rows)))?;
    let n = ctx.dtypes("feature_list_sparse_types")?.len();
    sparse(ctx, &mut add, n, 2)?;
    let dense = ctx.shapes("feature_list_dense_shapes")?;
    for shape in &dense {
        add(ctx, serialized.concatenate(&Shape::vector(None)).concatenate(shape))?;
    }
    if lengths {
        (0..dense.len()).try_for_each(|_| add(ctx, serialized.clone()))?;
    }
    let ragged = optional_types(ctx, "feature_list_ragged_value_types")?;
    (0..ragged).try_for_each(|_| add(ctx, Shape::vector(None)))?;
    (0..ragged).try_for_each(|_| add(ctx, Shape::vector(rows)))?;
    (0..ragged).try_for_each(|_| add(ctx, Shape::vector(None)))
}

/// A feature list in many examples: a column over all steps, and the number of steps in each example.
struct List {
    column: Column,
    steps: Vec<usize>,
}

impl List {
    fn push(&mut self, lists: &Features, name: &dyn Fn() -> String) -> Result<bool> {
        let Some(serialized) = lists.get(&self.column.key) else {
            self.steps.push(0);
            return Ok(false);
        };
        let features = feature_list(serialized)?;
        self.steps.push(features.len());
        for feature in &features {
            self.column.push(Some(feature), name)?;
        }
        Ok(true)
    }

    fn widest(&self) -> usize {
        self.steps.iter().copied().max().unwrap_or(0)
    }
}

/// A dense feature list: each step has the same number of values.
struct DenseList {
    list: List,
    shape: Vec<usize>,
    may_be_missing: bool,
}

impl DenseList {
    fn push(&mut self, lists: &Features, name: &dyn Fn() -> String) -> Result<()> {
        let before = self.list.column.lengths.len();
        if !self.list.push(lists, name)? && !self.may_be_missing {
            bail!(
                InvalidArgument,
                "{}Feature list '{}' is required but could not be found. Did you mean to include it in \
                 feature_list_dense_missing_assumed_empty or feature_list_dense_defaults?",
                name(),
                self.list.column.name()
            );
        }
        let expected: usize = self.shape.iter().product();
        for (step, &count) in self.list.column.lengths[before..].iter().enumerate() {
            if count != expected {
                bail!(
                    InvalidArgument,
                    "{}Feature list: {}, Index: {step}. Number of {} values != expected. values size: {count} but feature shape: {:?}",
                    name(),
                    self.list.column.name(),
                    self.list.column.values.dtype(),
                    self.shape
                );
            }
        }
        Ok(())
    }
}

/// What an op asks for.
struct Request {
    context_sparse: Vec<Column>,
    context_dense: Vec<Dense>,
    context_ragged: Vec<Column>,
    context_splits: Vec<DType>,
    sparse: Vec<List>,
    dense: Vec<DenseList>,
    ragged: Vec<List>,
    splits: Vec<DType>,
    lengths: bool,
}

fn columns(keys: &[Bytes], types: &[DType]) -> Result<Vec<Column>> {
    if keys.len() != types.len() {
        bail!(InvalidArgument, "{} keys of features for {} types", keys.len(), types.len());
    }
    keys.iter().zip(types).map(|(key, &dtype)| Column::new(key, dtype)).collect()
}

fn lists(keys: &[Bytes], types: &[DType]) -> Result<Vec<List>> {
    Ok(columns(keys, types)?.into_iter().map(|column| List { column, steps: Vec::new() }).collect())
}

/// The keys of the four kinds of features that all three ops have, and which dense lists may be missing.
struct Keys {
    context_sparse: Vec<Bytes>,
    context_dense: Vec<Bytes>,
    sparse: Vec<Bytes>,
    dense: Vec<Bytes>,
    may_be_missing: Vec<bool>,
    first_default: usize,
}

fn request(ctx: &KernelCtx, keys: &Keys) -> Result<Request> {
    let node = ctx.node();
    let (dense_types, dense_shapes) = (node.dtypes("Tcontext_dense")?, node.shapes("context_dense_shapes")?);
    if dense_types.len() != keys.context_dense.len() || dense_shapes.len() != keys.context_dense.len() {
        bail!(
            InvalidArgument,
            "{} context_dense_keys, {} Tcontext_dense, {} context_dense_shapes",
            keys.context_dense.len(),
            dense_types.len(),
            dense_shapes.len()
        );
    }
    let mut context_dense = Vec::new();
    for (i, key) in keys.context_dense.iter().enumerate() {
        let default = ctx.input(keys.first_default + i)?;
        context_dense.push(Dense::new(key, dense_types[i], &dense_shapes[i], default, i)?);
    }
    let list_shapes = node.shapes("feature_list_dense_shapes")?;
    if list_shapes.len() != keys.dense.len() || keys.may_be_missing.len() != keys.dense.len() {
        bail!(
            InvalidArgument,
            "{} feature_list_dense_keys, {} feature_list_dense_shapes, {} feature_list_dense_missing_assumed_empty",
            keys.dense.len(),
            list_shapes.len(),
            keys.may_be_missing.len()
        );
    }
    let mut dense = Vec::new();
    for (i, list) in lists(&keys.dense, &node.dtypes("feature_list_dense_types")?)?.into_iter().enumerate() {
        let Some(shape) = list_shapes[i].to_dims() else {
            bail!(InvalidArgument, "feature_list_dense_shapes[{i}] is not fully defined: {}", list_shapes[i]);
        };
        dense.push(DenseList { list, shape: shape.to_vec(), may_be_missing: keys.may_be_missing[i] });
    }
    Ok(Request {
        context_sparse: columns(&keys.context_sparse, &node.dtypes("context_sparse_types")?)?,
        context_dense,
        context_ragged: Vec::new(),
        context_splits: Vec::new(),
        sparse: lists(&keys.sparse, &node.dtypes("feature_list_sparse_types")?)?,
        dense,
        ragged: Vec::new(),
        splits: Vec::new(),
        lengths: true,
    })
}

fn run(ctx: &mut KernelCtx, mut request: Request, names: usize) -> Result<()> {
    let mut outputs = Outputs::default();
    {
        let serialized = ctx.input(0)?;
        let batch = Batch::of(serialized)?;
        let (strings, names) = (serialized.strings()?, ctx.input(names)?.strings()?);
        if !names.is_empty() && names.len() != strings.len() {
            bail!(InvalidArgument, "Expected len(debug_name) == len(serialized), but got: {} vs. {}", names.len(), strings.len());
        }
        for (at, serialized) in strings.iter().enumerate() {
            let name = || match names.get(at).filter(|n| !n.is_empty()) {
                Some(name) => format!("Name: {}, ", name.escape_ascii()),
                None => String::new(),
            };
            let unreadable = |e: Error| Error::invalid_argument(format!("{}{}", name(), e.message()));
            let (context, all) = sequence_example(serialized).map_err(unreadable)?;
            for column in request.context_sparse.iter_mut().chain(&mut request.context_ragged) {
                column.push(context.get(&column.key), &name)?;
            }
            for dense in &mut request.context_dense {
                dense.push(&context, &name)?;
            }
            for list in request.sparse.iter_mut().chain(&mut request.ragged) {
                list.push(&all, &name)?;
            }
            for list in &mut request.dense {
                list.push(&all, &name)?;
            }
        }
        finish_sparse(request.context_sparse, batch, &mut outputs)?;
        for dense in request.context_dense {
            outputs.push(dense.finish(batch)?);
        }
        finish_ragged(request.context_ragged, &request.context_splits, batch, &mut outputs)?;
        finish_sparse_lists(request.sparse, batch, &mut outputs)?;
        finish_dense_lists(request.dense, batch, request.lengths, &mut outputs)?;
        finish_ragged_lists(request.ragged, &request.splits, batch, &mut outputs)?;
    }
    outputs.set(ctx)
}

fn finish_sparse_lists(lists: Vec<List>, batch: Batch, outputs: &mut Outputs) -> Result<()> {
    let (mut indices, mut values, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    for list in lists {
        let rank = if batch.is_single { 2 } else { 3 };
        let mut own = Vec::with_capacity(list.column.values.len() * rank);
        let mut lengths = list.column.lengths.iter();
        for (row, &steps) in list.steps.iter().enumerate() {
            for (step, &len) in lengths.by_ref().take(steps).enumerate() {
                for at in 0..len {
                    if !batch.is_single {
                        own.push(row as i64);
                    }
                    own.extend([step as i64, at as i64]);
                }
            }
        }
        let mut shape: Vec<i64> = batch.dims().iter().map(|&d| d as i64).collect();
        shape.extend([list.widest() as i64, list.column.widest() as i64]);
        indices.push(Tensor::new(&[list.column.values.len(), rank], own)?);
        values.push(list.column.into_vector()?);
        shapes.push(Tensor::from(shape));
    }
    outputs.extend(indices);
    outputs.extend(values);
    outputs.extend(shapes);
    Ok(())
}

fn finish_dense_lists(lists: Vec<DenseList>, batch: Batch, with_lengths: bool, outputs: &mut Outputs) -> Result<()> {
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for DenseList { list, shape, .. } in lists {
        let (widest, step) = (list.widest(), shape.iter().product::<usize>());
        let mut dims = batch.dims();
        let steps: Vec<i64> = list.steps.iter().map(|&s| s as i64).collect();
        lengths.push(Tensor::new(&dims, steps)?);
        dims.push(widest);
        dims.extend(shape);
        let own = list.steps.iter().map(|&s| s * step).collect();
        let column = Column { lengths: own, ..list.column };
        values.push(column.into_padded(widest * step, None, &dims)?);
    }
    outputs.extend(values);
    if with_lengths {
        outputs.extend(lengths);
    }
    Ok(())
}

fn finish_ragged_lists(lists: Vec<List>, types: &[DType], batch: Batch, outputs: &mut Outputs) -> Result<()> {
    let (mut values, mut outer, mut inner) = (Vec::new(), Vec::new(), Vec::new());
    for (list, &dtype) in lists.into_iter().zip(types) {
        outer.push(if batch.is_single { Tensor::zeros(dtype, &[0])? } else { running_sum(&list.steps, dtype)? });
        inner.push(list.column.splits(dtype)?);
        values.push(list.column.into_vector()?);
    }
    outputs.extend(values);
    outputs.extend(outer);
    outputs.extend(inner);
    Ok(())
}

fn parse_by_attrs(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let keys = |name: &str| -> Result<Vec<Bytes>> { Ok(crate::graph::attr::list(node.attr(name)?)?.s.clone()) };
    let missing = keys("feature_list_dense_missing_assumed_empty")?;
    let dense = keys("feature_list_dense_keys")?;
    let keys = Keys {
        context_sparse: keys("context_sparse_keys")?,
        context_dense: keys("context_dense_keys")?,
        sparse: keys("feature_list_sparse_keys")?,
        may_be_missing: dense.iter().map(|key| missing.contains(key)).collect(),
        dense,
        first_default: 2,
    };
    let request = request(ctx, &keys)?;
    run(ctx, request, 1)
}

fn parse_v2(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let keys = Keys {
        context_sparse: key_list(ctx, 2)?,
        context_dense: key_list(ctx, 3)?,
        sparse: key_list(ctx, 5)?,
        dense: key_list(ctx, 6)?,
        may_be_missing: ctx.input(8)?.as_slice::<bool>()?.to_vec(),
        first_default: 9,
    };
    let mut request = request(ctx, &keys)?;
    request.context_ragged = columns(&key_list(ctx, 4)?, &node.dtypes("context_ragged_value_types")?)?;
    request.context_splits = node.dtypes("context_ragged_split_types")?;
    request.ragged = lists(&key_list(ctx, 7)?, &node.dtypes("feature_list_ragged_value_types")?)?;
    request.splits = node.dtypes("feature_list_ragged_split_types")?;
    if request.context_splits.len() != request.context_ragged.len() || request.splits.len() != request.ragged.len() {
        bail!(InvalidArgument, "each ragged feature needs a type of its values and a type of its splits");
    }
    run(ctx, request, 1)
}

fn parse_single(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let mut next = 2;
    let mut take = |count: i64| -> Result<Vec<Bytes>> {
        let start = next;
        next += count.max(0) as usize;
        (start..next).map(|i| single_string(ctx.input(i)?)).collect()
    };
    let (context_sparse, context_dense) = (take(node.int("Ncontext_sparse")?)?, take(node.int("Ncontext_dense")?)?);
    let (sparse, dense) = (take(node.int("Nfeature_list_sparse")?)?, take(node.int("Nfeature_list_dense")?)?);
    let missing = ctx.input(1)?.strings()?;
    let may_be_missing = dense.iter().map(|key| missing.contains(key)).collect();
    let keys = Keys { context_sparse, context_dense, sparse, dense, may_be_missing, first_default: next };
    if ctx.input(0)?.rank() != 0 {
        bail!(InvalidArgument, "Expected serialized to be a scalar, got shape: {}", ctx.input(0)?.shape());
    }
    let names = ctx.num_inputs() - 1;
    let mut request = request(ctx, &keys)?;
    request.lengths = false;
    run(ctx, request, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::parsing::wire::Values;

    /// A field whose length is beyond the message, and a feature that is none.
    #[test]
    fn damaged_messages_are_refused() {
        for bytes in [&b"\x12\x7f\x00"[..], b"\x12\x02\x0a\x05", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(sequence_example(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
        assert!(Values::decode(&Bytes::from_static(b"\x0a\x05a")).is_err());
    }
}
