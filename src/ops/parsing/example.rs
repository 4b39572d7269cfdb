//! `Example` messages as tensors.

use super::wire::{Column, Features, example};
use super::{Batch, Outputs, key_list};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;

const TYPES: &str = "sparse_types: list({float, int64, string}) >= 0";
const DENSE_TYPES: &str = "Tdense: list({float, int64, string}) >= 0";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ParseExample",
        ins: &[
            "serialized: string",
            "names: string",
            "sparse_keys: Nsparse * string",
            "dense_keys: Ndense * string",
            "dense_defaults: Tdense",
        ],
        outs: &[
            "sparse_indices: Nsparse * int64",
            "sparse_values: sparse_types",
            "sparse_shapes: Nsparse * int64",
            "dense_values: Tdense",
        ],
        attrs: &["Nsparse: int >= 0", "Ndense: int >= 0", TYPES, DENSE_TYPES, "dense_shapes: list(shape) >= 0"],
        shape: |ctx| {
            ctx.input(0).with_rank(1)?;
            shapes(ctx)
        },
        kernel: Kernel::Pure(parse_example),
        grad: Grad::None("strings"),
        rows: &["sparse_types=[DT_INT64], dense_shapes=[shape[2]]; \
             str[\"\\n\\x0f\\n\\r\\n\\x01a\\x12\\x08\\x1a\\x06\\n\\x04\\x01\\x02\\x03\\x04\" \"\"], str{0}[], (str \"a\"), (str \"b\"), f32[7 8] \
             => i64[[0 0] [0 1] [0 2] [0 3]], i64[1 2 3 4], i64[2 4], f32[[7 8] [7 8]]"],
    },
    Op {
        name: "ParseExampleV2",
        ins: &[
            "serialized: string",
            "names: string",
            "sparse_keys: string",
            "dense_keys: string",
            "ragged_keys: string",
            "dense_defaults: Tdense",
        ],
        outs: &[
            "sparse_indices: num_sparse * int64",
            "sparse_values: sparse_types",
            "sparse_shapes: num_sparse * int64",
            "dense_values: Tdense",
            "ragged_values: ragged_value_types",
            "ragged_row_splits: ragged_split_types",
        ],
        attrs: &[
            DENSE_TYPES,
            "num_sparse: int >= 0",
            TYPES,
            "ragged_value_types: list({float, int64, string}) >= 0",
            "ragged_split_types: list({int32, int64}) >= 0",
            "dense_shapes: list(shape) >= 0",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank_at_most(1)?;
            shapes(ctx)
        },
        kernel: Kernel::Pure(parse_example_v2),
        grad: Grad::None("strings"),
        rows: &["num_sparse=0, sparse_types=[], dense_shapes=[], ragged_value_types=[DT_INT64], ragged_split_types=[DT_INT32]; \
             str[\"\" \"\\n\\x0f\\n\\r\\n\\x01a\\x12\\x08\\x1a\\x06\\n\\x04\\x01\\x02\\x03\\x04\"], str{0}[], str{0}[], str{0}[], str[\"a\"], () \
             => i64[1 2 3 4], i32[0 0 4]"],
    },
    Op {
        name: "ParseSingleExample",
        ins: &["serialized: string", "dense_defaults: Tdense"],
        outs: &[
            "sparse_indices: num_sparse * int64",
            "sparse_values: sparse_types",
            "sparse_shapes: num_sparse * int64",
            "dense_values: Tdense",
        ],
        attrs: &[
            "num_sparse: int >= 0",
            "sparse_keys: list(string) >= 0",
            "dense_keys: list(string) >= 0",
            TYPES,
            DENSE_TYPES,
            "dense_shapes: list(shape) >= 0",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank(0)?;
            shapes(ctx)
        },
        kernel: Kernel::Pure(parse_single_example),
        grad: Grad::None("strings"),
        rows: &["num_sparse=1, sparse_keys=['a'], dense_keys=['a'], sparse_types=[DT_INT64], dense_shapes=[shape[?, 2]]; \
             str \"\\n\\x0f\\n\\r\\n\\x01a\\x12\\x08\\x1a\\x06\\n\\x04\\x01\\x02\\x03\\x04\", i64 0 \
             => i64[[0] [1] [2] [3]], i64[1 2 3 4], i64[4], i64[[1 2] [3 4]]"],
    },
];

/// The shapes of the outputs of all three ops, as the first input's rank and the attributes tell them.
fn shapes(ctx: &mut InferCtx) -> Result<()> {
    let serialized = ctx.input(0);
    let dense = ctx.shapes("dense_shapes")?;
    let sparse = ctx.dtypes("sparse_types")?.len();
    let ragged = if ctx.has_attr("ragged_value_types") { ctx.dtypes("ragged_value_types")?.len() } else { 0 };
    if dense.len() != ctx.dtypes("Tdense")?.len() {
        bail!(InvalidArgument, "len(dense_shapes) != len(dense_types): {} vs. {}", dense.len(), ctx.dtypes("Tdense")?.len());
    }
    let rank = serialized.rank().map(|r| r + 1);
    for i in 0..sparse {
        ctx.set(i, Shape::matrix(None, rank))?;
        ctx.set(sparse + i, Shape::vector(None))?;
        ctx.set(2 * sparse + i, Shape::vector(rank))?;
    }
    for (i, shape) in dense.iter().enumerate() {
        ctx.set(3 * sparse + i, serialized.concatenate(shape))?;
    }
    let rows = if serialized.rank() == Some(1) { serialized.dim(0).map(|n| n + 1) } else { None };
    for i in 0..ragged {
        ctx.set(3 * sparse + dense.len() + i, Shape::vector(None))?;
        ctx.set(3 * sparse + dense.len() + ragged + i, Shape::vector(rows))?;
    }
    Ok(())
}

/// A dense feature: where its values are missing, the default stands in.
pub(super) struct Dense {
    column: Column,
    /// The shape in one example; a first dimension of -1 varies.
    shape: Vec<i64>,
    default: Tensor,
}

impl Dense {
    /// # Errors
    /// `InvalidArgument` for a shape of which more than the first dimension is unknown, or a default that doesn't fit.
    pub fn new(key: &Bytes, dtype: DType, shape: &Shape, default: &Tensor, number: usize) -> Result<Dense> {
        let Some(sizes) = shape.signed().filter(|s| s.iter().skip(1).all(|&d| d >= 0)) else {
            bail!(InvalidArgument, "dense_shapes[{number}] has unknown rank or unknown inner dimensions: {shape}");
        };
        let variable = sizes.first() == Some(&-1);
        if variable && default.len() != 1 {
            bail!(
                InvalidArgument,
                "dense_shape[{number}] is a variable length shape: {shape}, therefore def_value[{number}] must contain a single \
                 element (the padding element). But its shape is: {}",
                default.shape()
            );
        }
        if !variable && !default.is_empty() && !shape.accepts(default.dims()) {
            bail!(
                InvalidArgument,
                "def_value[{number}].shape() == {} is not compatible with dense_shapes[{number}] == {shape}",
                default.shape()
            );
        }
        if default.dtype() != dtype {
            bail!(InvalidArgument, "dense_defaults[{number}].dtype() == {} != dense_types[{number}] == {dtype}", default.dtype());
        }
        Ok(Dense { column: Column::new(key, dtype)?, shape: sizes.to_vec(), default: default.clone() })
    }

    fn is_variable(&self) -> bool {
        self.shape.first() == Some(&-1)
    }

    /// The number of values in an example, or in each step along a first dimension that varies.
    fn stride(&self) -> usize {
        self.shape[usize::from(self.is_variable())..].iter().map(|&d| d as usize).product()
    }

    pub fn push(&mut self, features: &Features, name: &dyn Fn() -> String) -> Result<()> {
        let found = self.column.push(features.get(&self.column.key), name)?;
        let (count, stride) = (self.column.lengths.last().copied().unwrap_or(0), self.stride());
        if !found {
            if self.is_variable() {
                return Ok(());
            }
            if self.default.is_empty() && stride != 0 {
                bail!(
                    InvalidArgument,
                    "{}Feature: {} (data type: {}) is required but could not be found.",
                    name(),
                    self.column.name(),
                    self.column.values.dtype()
                );
            }
            let default = self.default.clone();
            return self.column.use_default(&default);
        }
        let fits = if self.is_variable() { count == 0 || (stride > 0 && count % stride == 0) } else { count == stride };
        if !fits {
            bail!(
                InvalidArgument,
                "{}Key: {}. Number of {} values != expected. Values size: {count} but output shape: {}",
                name(),
                self.column.name(),
                self.column.values.dtype(),
                Shape::from_signed(self.shape.iter().copied())
            );
        }
        Ok(())
    }

    pub fn finish(self, batch: Batch) -> Result<Tensor> {
        let stride = self.stride();
        let mut dims: Vec<usize> = batch.dims();
        let mut own: Vec<usize> = self.shape.iter().map(|&d| d.max(0) as usize).collect();
        let width = if self.is_variable() { self.column.widest() } else { stride };
        if self.is_variable() {
            own[0] = width / stride.max(1);
        }
        dims.extend(own);
        self.column.into_padded(width, Some(&self.default), &dims)
    }
}

/// Sets the three outputs of a sparse feature.
pub(super) fn finish_sparse(columns: Vec<Column>, batch: Batch, outputs: &mut Outputs) -> Result<()> {
    let (mut indices, mut values, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        let rank = if batch.is_single { 1 } else { 2 };
        let mut own = Vec::with_capacity(column.values.len() * rank);
        for (row, &len) in column.lengths.iter().enumerate() {
            for at in 0..len {
                if !batch.is_single {
                    own.push(row as i64);
                }
                own.push(at as i64);
            }
        }
        let mut shape: Vec<i64> = batch.dims().iter().map(|&d| d as i64).collect();
        shape.push(column.widest() as i64);
        indices.push(Tensor::new(&[column.values.len(), rank], own)?);
        values.push(column.into_vector()?);
        shapes.push(Tensor::from(shape));
    }
    outputs.extend(indices);
    outputs.extend(values);
    outputs.extend(shapes);
    Ok(())
}

/// Sets the values and splits of ragged features.
pub(super) fn finish_ragged(columns: Vec<Column>, types: &[DType], batch: Batch, outputs: &mut Outputs) -> Result<()> {
    let (mut values, mut splits) = (Vec::new(), Vec::new());
    for (column, &dtype) in columns.into_iter().zip(types) {
        splits.push(if batch.is_single { Tensor::zeros(dtype, &[0])? } else { column.splits(dtype)? });
        values.push(column.into_vector()?);
    }
    outputs.extend(values);
    outputs.extend(splits);
    Ok(())
}

/// What an op asks for.
struct Request {
    sparse: Vec<Column>,
    dense: Vec<Dense>,
    ragged: Vec<Column>,
    split_types: Vec<DType>,
}

fn columns(keys: &[Bytes], types: &[DType]) -> Result<Vec<Column>> {
    if keys.len() != types.len() {
        bail!(InvalidArgument, "{} keys of features for {} types", keys.len(), types.len());
    }
    keys.iter().zip(types).map(|(key, &dtype)| Column::new(key, dtype)).collect()
}

fn denses(ctx: &KernelCtx, keys: &[Bytes], first_default: usize) -> Result<Vec<Dense>> {
    let (types, shapes) = (ctx.node().dtypes("Tdense")?, ctx.node().shapes("dense_shapes")?);
    if keys.len() != types.len() || shapes.len() != types.len() {
        bail!(InvalidArgument, "{} dense keys and {} dense shapes for {} types", keys.len(), shapes.len(), types.len());
    }
    let mut denses = Vec::with_capacity(keys.len());
    for (i, key) in keys.iter().enumerate() {
        denses.push(Dense::new(key, types[i], &shapes[i], ctx.input(first_default + i)?, i)?);
    }
    Ok(denses)
}

fn run(ctx: &mut KernelCtx, mut request: Request, names: Option<usize>) -> Result<()> {
    let mut outputs = Outputs::default();
    {
        let serialized = ctx.input(0)?;
        let batch = Batch::of(serialized)?;
        let strings = serialized.strings()?;
        let names = match names {
            Some(input) => ctx.input(input)?.strings()?,
            None => &[],
        };
        if !names.is_empty() && names.len() != strings.len() {
            bail!(InvalidArgument, "Expected len(names) == len(serialized), but got: {} vs. {}", names.len(), strings.len());
        }
        for (at, serialized) in strings.iter().enumerate() {
            let name = || names.get(at).map(|n| format!("Name: {}, ", n.escape_ascii())).unwrap_or_default();
            let features = example(serialized).map_err(|e| Error::invalid_argument(format!("{}{}", name(), e.message())))?;
            for column in request.sparse.iter_mut().chain(&mut request.ragged) {
                column.push(features.get(&column.key), &name)?;
            }
            for dense in &mut request.dense {
                dense.push(&features, &name)?;
            }
        }
        finish_sparse(request.sparse, batch, &mut outputs)?;
        for dense in request.dense {
            outputs.push(dense.finish(batch)?);
        }
        finish_ragged(request.ragged, &request.split_types, batch, &mut outputs)?;
    }
    outputs.set(ctx)
}

fn parse_example(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (sparse, dense) = (node.int("Nsparse")? as usize, node.int("Ndense")? as usize);
    let keys = |from: usize, count: usize| -> Result<Vec<Bytes>> {
        let mut keys = Vec::with_capacity(count);
        for i in from..from + count {
            keys.push(super::single_string(ctx.input(i)?)?);
        }
        Ok(keys)
    };
    if ctx.input(0)?.rank() != 1 {
        bail!(InvalidArgument, "Expected serialized to be a vector, got shape: {}", ctx.input(0)?.shape());
    }
    let request = Request {
        sparse: columns(&keys(2, sparse)?, &node.dtypes("sparse_types")?)?,
        dense: denses(ctx, &keys(2 + sparse, dense)?, 2 + sparse + dense)?,
        ragged: Vec::new(),
        split_types: Vec::new(),
    };
    run(ctx, request, Some(1))
}

fn parse_example_v2(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let split_types = node.dtypes("ragged_split_types")?;
    let request = Request {
        sparse: columns(&key_list(ctx, 2)?, &node.dtypes("sparse_types")?)?,
        dense: denses(ctx, &key_list(ctx, 3)?, 5)?,
        ragged: columns(&key_list(ctx, 4)?, &node.dtypes("ragged_value_types")?)?,
        split_types,
    };
    if request.ragged.len() != request.split_types.len() {
        bail!(InvalidArgument, "len(ragged_value_types) != len(ragged_split_types)");
    }
    run(ctx, request, Some(1))
}

fn parse_single_example(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let keys = |name: &str| -> Result<Vec<Bytes>> { Ok(crate::graph::attr::list(node.attr(name)?)?.s.clone()) };
    if ctx.input(0)?.rank() != 0 {
        bail!(InvalidArgument, "Expected serialized to be a scalar, got shape: {}", ctx.input(0)?.shape());
    }
    let request = Request {
        sparse: columns(&keys("sparse_keys")?, &node.dtypes("sparse_types")?)?,
        dense: denses(ctx, &keys("dense_keys")?, 1)?,
        ragged: Vec::new(),
        split_types: Vec::new(),
    };
    run(ctx, request, None)
}
