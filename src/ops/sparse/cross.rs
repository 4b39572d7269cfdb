//! Crosses of features: all combinations of one value from each column, row by row.

use super::{Sparse, index_matrix, set_sparse, sparse_output};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

const SPARSE_TYPES: &str = "sparse_types: list({int64, string}) >= 0";
const DENSE_TYPES: &str = "dense_types: list({int64, string}) >= 0";
const SEPARATOR: &[u8] = b"_X_";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseCross",
        ins: &["indices: N * int64", "values: sparse_types", "shapes: N * int64", "dense_inputs: dense_types"],
        outs: &["output_indices: int64", "output_values: out_type", "output_shape: int64"],
        attrs: &[
            "N: int >= 0",
            "hashed_output: bool",
            "num_buckets: int >= 0",
            "hash_key: int",
            SPARSE_TYPES,
            DENSE_TYPES,
            "out_type: {int64, string}",
            "internal_type: {int64, string}",
        ],
        shape: |ctx| sparse_output(ctx, 0, None, Some(2)),
        kernel: Kernel::Pure(cross),
        grad: Grad::Missing,
        rows: &["hashed_output=false, num_buckets=0, hash_key=1, out_type=DT_STRING, internal_type=DT_STRING; (), (), (), \
             (str[[\"a\"] [\"b\"]], i64[[1 2] [3 4]]) => i64[[0 0] [0 1] [1 0] [1 1]], \
             str[\"a_X_1\" \"a_X_2\" \"b_X_3\" \"b_X_4\"], i64[2 2]"],
    },
    Op {
        name: "SparseCrossV2",
        ins: &["indices: N * int64", "values: sparse_types", "shapes: N * int64", "dense_inputs: dense_types", "sep: string"],
        outs: &["output_indices: int64", "output_values: string", "output_shape: int64"],
        attrs: &["N: int >= 0", SPARSE_TYPES, DENSE_TYPES],
        shape: |ctx| sparse_output(ctx, 0, None, Some(2)),
        kernel: Kernel::Pure(cross_strings),
        grad: Grad::Missing,
        rows: &["(i64[[0 0] [1 0] [1 1]]), (str[\"a\" \"b\" \"c\"]), (i64[2 2]), (i64[[1] [2]]), str \"-\" \
             => i64[[0 0] [1 0] [1 1]], str[\"a-1\" \"b-2\" \"c-2\"], i64[2 2]"],
    },
    Op {
        name: "SparseCrossHashed",
        ins: &[
            "indices: N * int64",
            "values: sparse_types",
            "shapes: N * int64",
            "dense_inputs: dense_types",
            "num_buckets: int64",
            "strong_hash: bool",
            "salt: int64",
        ],
        outs: &["output_indices: int64", "output_values: int64", "output_shape: int64"],
        attrs: &["N: int >= 0", SPARSE_TYPES, DENSE_TYPES],
        shape: |ctx| sparse_output(ctx, 0, None, Some(2)),
        kernel: Kernel::Pure(cross_hashed),
        grad: Grad::Missing,
        rows: &["(), (), (), (i64[[7] [12]]), i64 10, bool false, i64[1 2] => i64[[0 0] [1 0]], i64[7 2], i64[2 1]"],
    },
    Op {
        name: "RaggedCross",
        ins: &[
            "ragged_values: ragged_values_types",
            "ragged_row_splits: ragged_splits_types",
            "sparse_indices: Nsparse * int64",
            "sparse_values: sparse_values_types",
            "sparse_shape: Nsparse * int64",
            "dense_inputs: dense_types",
        ],
        outs: &["output_values: out_values_type", "output_row_splits: out_row_splits_type"],
        attrs: &[
            "Nsparse: int >= 0",
            "input_order: string",
            "hashed_output: bool",
            "num_buckets: int >= 0",
            "hash_key: int",
            "ragged_values_types: list({int64, string}) >= 0",
            "ragged_splits_types: list({int32, int64}) >= 0",
            "sparse_values_types: list({int64, string}) >= 0",
            DENSE_TYPES,
            "out_values_type: {int64, string}",
            "out_row_splits_type: {int32, int64}",
        ],
        shape: ragged_shape,
        kernel: Kernel::Pure(cross_ragged),
        grad: Grad::Missing,
        rows: &["input_order='RD', hashed_output=false, num_buckets=0, hash_key=1, out_values_type=DT_STRING, \
             out_row_splits_type=DT_INT64; (str[\"a\" \"b\" \"c\"]), (i64[0 2 3]), (), (), (), (i64[[1] [2]]) \
             => str[\"a_X_1\" \"b_X_1\" \"c_X_2\"], i64[0 2 3]"],
    },
];

fn ragged_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, Shape::vector(None))?;
    ctx.set(1, Shape::vector(None))
}

/// A column of features: the values of row `r` stand at `starts[r]..starts[r + 1]`.
struct Column {
    values: Tensor,
    starts: Vec<usize>,
}

impl Column {
    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn count(&self, row: usize) -> usize {
        self.starts[row + 1] - self.starts[row]
    }

    fn of_sparse(indices: &Tensor, values: &Tensor, shape: &Tensor) -> Result<Column> {
        let sparse = Sparse::new(indices, values, shape)?;
        if sparse.rank() != 2 {
            bail!(InvalidArgument, "Expected 2D sparse tensors, got a shape of rank {}", sparse.rank());
        }
        sparse.check_bounds()?;
        let Ok(rows) = usize::try_from(sparse.shape[0]) else { bail!(InvalidArgument, "a negative number of rows") };
        if rows > 1 << 28 {
            bail!(InvalidArgument, "{rows} rows are too many");
        }
        let mut counts = vec![0usize; rows + 1];
        let mut last = 0;
        for at in 0..sparse.len() {
            let row = sparse.index(at)[0] as usize;
            if row < last {
                bail!(InvalidArgument, "indices[{at}] is out of order: row {row} comes after row {last}");
            }
            last = row;
            counts[row + 1] += 1;
        }
        for row in 0..rows {
            counts[row + 1] += counts[row];
        }
        Ok(Column { values: values.clone(), starts: counts })
    }

    fn of_dense(values: &Tensor) -> Result<Column> {
        let &[rows, columns] = values.dims() else {
            bail!(InvalidArgument, "Dense inputs should be a matrix but received shape {}", values.shape())
        };
        Ok(Column { values: values.clone(), starts: (0..=rows).map(|row| row * columns).collect() })
    }

    fn of_ragged(values: &Tensor, splits: &Tensor) -> Result<Column> {
        if values.rank() != 1 || splits.rank() != 1 || splits.is_empty() {
            bail!(InvalidArgument, "tf.ragged.cross only supports inputs with rank=2.");
        }
        let splits = splits.to_i64s()?;
        if splits[0] != 0 || splits.windows(2).any(|w| w[0] > w[1]) || splits[splits.len() - 1] != values.len() as i64 {
            bail!(InvalidArgument, "Row splits must ascend from 0 to the number of values {}, got {splits:?}", values.len());
        }
        Ok(Column { values: values.clone(), starts: splits.iter().map(|&s| s as usize).collect() })
    }

    /// A value as text.
    fn text(&self, row: usize, at: usize) -> Result<Bytes> {
        let at = self.starts[row] + at;
        Ok(match self.values.dtype() {
            DType::String => self.values.strings()?[at].clone(),
            _ => self.values.as_slice::<i64>()?[at].to_string().into(),
        })
    }

    /// A value as a number: an integer itself, a string's hash, which `key` makes a strong one.
    fn number(&self, row: usize, at: usize, key: Option<(u64, u64)>) -> Result<u64> {
        let at = self.starts[row] + at;
        Ok(match (self.values.dtype(), key) {
            (DType::String, None) => farmhash::fingerprint64(&self.values.strings()?[at]),
            (DType::String, Some((first, second))) => {
                let mut hasher = SipHasher24::new_with_keys(first, second);
                hasher.write(&self.values.strings()?[at]);
                hasher.finish()
            }
            _ => self.values.as_slice::<i64>()?[at] as u64,
        })
    }
}

/// The columns of sparse inputs (`count` triples) and dense ones, which begin at input `first`.
fn columns(ctx: &KernelCtx, first: usize, count: usize, dense: usize) -> Result<Vec<Column>> {
    let mut all = Vec::with_capacity(count + dense);
    for i in first..first + count {
        all.push(Column::of_sparse(ctx.input(i)?, ctx.input(i + count)?, ctx.input(i + 2 * count)?)?);
    }
    for i in 0..dense {
        all.push(Column::of_dense(ctx.input(first + 3 * count + i)?)?);
    }
    Ok(all)
}

fn rows_of(columns: &[Column]) -> Result<usize> {
    let Some(first) = columns.first() else { bail!(InvalidArgument, "there are no columns to cross") };
    match columns.iter().find(|c| c.rows() != first.rows()) {
        Some(other) => bail!(InvalidArgument, "Expected batch size {} of all columns, got {}", first.rows(), other.rows()),
        None => Ok(first.rows()),
    }
}

/// Calls `each` with row and choice for every combination, the last column's value changing fastest; gives how many there
/// are in each row.
fn combinations(columns: &[Column], mut each: impl FnMut(usize, &[usize]) -> Result<()>) -> Result<Vec<usize>> {
    let rows = rows_of(columns)?;
    let mut counts = Vec::with_capacity(rows);
    for row in 0..rows {
        let sizes: Vec<usize> = columns.iter().map(|c| c.count(row)).collect();
        let total = sizes.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).filter(|&n| n < 1 << 32);
        let Some(total) = total else { bail!(InvalidArgument, "row {row} has too many combinations") };
        let mut choice = vec![0; columns.len()];
        for _ in 0..total {
            each(row, &choice)?;
            for (at, size) in choice.iter_mut().zip(&sizes).rev() {
                *at += 1;
                if *at < *size {
                    break;
                }
                *at = 0;
            }
        }
        counts.push(total);
    }
    Ok(counts)
}

/// The combination of two hashes.
fn concatenate(first: u64, second: u64) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |value: u64| value ^ (value >> 47);
    let hash = first ^ MULTIPLIER ^ mix(second.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    mix(mix(hash.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER))
}

fn bucket(hash: u64, buckets: i64) -> i64 {
    let size = if buckets > 0 { buckets as u64 } else { i64::MAX as u64 };
    (hash % size) as i64
}

fn joined(columns: &[Column], separator: &[u8]) -> Result<(Tensor, Vec<usize>)> {
    let mut all: Vec<Bytes> = Vec::new();
    let counts = combinations(columns, |row, choice| {
        let parts = columns.iter().zip(choice).map(|(c, &at)| c.text(row, at)).collect::<Result<Vec<_>>>()?;
        all.push(parts.join(separator).into());
        Ok(())
    })?;
    Ok((Tensor::from_strings(&[all.len()], all)?, counts))
}

/// Hashes of combinations. `seed` is where the hash begins, if not with the first column.
fn hashed(columns: &[Column], seed: Option<u64>, buckets: i64, key: Option<(u64, u64)>) -> Result<(Tensor, Vec<usize>)> {
    let mut all = Vec::new();
    let counts = combinations(columns, |row, choice| {
        let mut hash = seed;
        for (column, &at) in columns.iter().zip(choice) {
            let number = column.number(row, at, key)?;
            hash = Some(hash.map_or(number, |h| concatenate(h, number)));
        }
        all.push(bucket(hash.unwrap_or_default(), buckets));
        Ok(())
    })?;
    Ok((Tensor::from(all), counts))
}

fn set(ctx: &mut KernelCtx, values: Tensor, counts: &[usize]) -> Result<()> {
    let mut indices = Vec::with_capacity(2 * values.len());
    for (row, &count) in counts.iter().enumerate() {
        indices.extend((0..count).flat_map(|at| [row as i64, at as i64]));
    }
    let widest = counts.iter().max().copied().unwrap_or(0);
    let indices = index_matrix(values.len(), 2, indices)?;
    set_sparse(ctx, 0, indices, values, &[counts.len() as i64, widest as i64])
}

fn cross(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let count = node.dtypes("sparse_types")?.len();
    let columns = columns(ctx, 0, count, node.dtypes("dense_types")?.len())?;
    let (values, counts) = if node.dtype("internal_type")? == DType::String {
        joined(&columns, SEPARATOR)?
    } else {
        hashed(&columns, Some(node.int("hash_key")? as u64), node.int("num_buckets")?, None)?
    };
    if values.dtype() != node.dtype("out_type")? {
        bail!(InvalidArgument, "the crosses are {}, the outputs should be {}", values.dtype(), node.dtype("out_type")?);
    }
    set(ctx, values, &counts)
}

fn cross_strings(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let count = node.dtypes("sparse_types")?.len();
    let columns = columns(ctx, 0, count, node.dtypes("dense_types")?.len())?;
    let separator = match ctx.input(ctx.num_inputs() - 1)?.strings()? {
        [separator] => separator.clone(),
        _ => bail!(InvalidArgument, "Input separator should be a scalar."),
    };
    let (values, counts) = joined(&columns, &separator)?;
    set(ctx, values, &counts)
}

fn cross_hashed(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let count = node.dtypes("sparse_types")?.len();
    let columns = columns(ctx, 0, count, node.dtypes("dense_types")?.len())?;
    let last = ctx.num_inputs() - 1;
    let buckets = ctx.int_input(last - 2)?;
    let strong = ctx.input(last - 1)?.item::<bool>()?;
    let salt = ctx.input(last)?.as_slice::<i64>()?;
    let key = match *salt {
        [first, second] if strong => Some((first as u64, second as u64)),
        _ if strong => return Err(Error::invalid_argument("salt must have two elements")),
        _ => None,
    };
    let (values, counts) = hashed(&columns, None, buckets, key)?;
    set(ctx, values, &counts)
}

fn cross_ragged(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (ragged, dense) = (node.dtypes("ragged_values_types")?.len(), node.dtypes("dense_types")?.len());
    let sparse = node.dtypes("sparse_values_types")?.len();
    let mut ragged_columns =
        (0..ragged).map(|i| Column::of_ragged(ctx.input(i)?, ctx.input(i + ragged)?)).collect::<Result<Vec<_>>>()?.into_iter();
    let mut others = columns(ctx, 2 * ragged, sparse, dense)?;
    let mut dense_columns = others.split_off(sparse).into_iter();
    let mut sparse_columns = others.into_iter();
    let mut ordered = Vec::with_capacity(ragged + sparse + dense);
    for kind in node.string("input_order")?.chars() {
        let next = match kind {
            'R' => ragged_columns.next(),
            'S' => sparse_columns.next(),
            'D' => dense_columns.next(),
            _ => None,
        };
        match next {
            Some(column) => ordered.push(column),
            None => bail!(InvalidArgument, "input_order {:?} doesn't fit the inputs", node.string("input_order")?),
        }
    }
    let (values, counts) = if node.boolean("hashed_output")? {
        hashed(&ordered, Some(node.int("hash_key")? as u64), node.int("num_buckets")?, None)?
    } else {
        joined(&ordered, SEPARATOR)?
    };
    if values.dtype() != node.dtype("out_values_type")? {
        bail!(InvalidArgument, "the crosses are {}, the outputs should be {}", values.dtype(), node.dtype("out_values_type")?);
    }
    let mut splits = vec![0i64];
    for count in counts {
        splits.push(splits[splits.len() - 1] + count as i64);
    }
    let splits = match node.dtype("out_row_splits_type")? {
        DType::Int32 => Tensor::from(splits.into_iter().map(|s| s as i32).collect::<Vec<_>>()),
        _ => Tensor::from(splits),
    };
    ctx.set(0, values)?;
    ctx.set(1, splits)
}
