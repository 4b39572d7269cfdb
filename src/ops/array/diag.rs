//! Diagonals and bands of matrices.

use super::items::{Item, moved};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::shape;
use crate::tensor::{DType, Dims, Shape, Tensor};

const ALIGN: &str = "align: {'LEFT_RIGHT', 'RIGHT_LEFT', 'LEFT_LEFT', 'RIGHT_RIGHT'} = 'RIGHT_LEFT'";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Diag",
        ins: &["diagonal: T"],
        outs: &["output: T"],
        attrs: &["T: {bfloat16, half, float, double, int32, int64, complex64, complex128}"],
        shape: |ctx| {
            let input = ctx.input(0).with_rank_at_least(1)?;
            ctx.set(0, input.concatenate(&input))
        },
        kernel: Kernel::Pure(diag_kernel),
        grad: Grad::Fn(|g, _, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.tensor_diag_part(grad)?.into())])
        }),
        rows: &["f32[1 2] => f32[[1 0] [0 2]]"],
    },
    Op {
        name: "DiagPart",
        ins: &["input: T"],
        outs: &["diagonal: T"],
        attrs: &["T: {bfloat16, half, float, double, int32, int64, complex64, complex128}"],
        shape: diag_part_shape,
        kernel: Kernel::Pure(diag_part_kernel),
        grad: Grad::Fn(|g, _, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.op("Diag").input(grad).output()?.into())])
        }),
        rows: &["f32[[1 2] [3 4]] => f32[1 4]"],
    },
    diag_op("MatrixDiag", Grad::Fn(matrix_diag_grad)),
    diag_op("BatchMatrixDiag", Grad::Missing),
    Op {
        name: "MatrixDiagV2",
        ins: &["diagonal: T", "k: int32", "num_rows: int32", "num_cols: int32", "padding_value: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: matrix_diag_shape,
        kernel: Kernel::Pure(matrix_diag_kernel),
        grad: Grad::Fn(matrix_diag_grad),
        rows: &["f32[1 2], i32 1, i32 -1, i32 -1, f32 9 => f32[[9 1 9] [9 9 2] [9 9 9]]"],
    },
    Op {
        name: "MatrixDiagV3",
        ins: &["diagonal: T", "k: int32", "num_rows: int32", "num_cols: int32", "padding_value: T"],
        outs: &["output: T"],
        attrs: &["T: type", ALIGN],
        shape: matrix_diag_shape,
        kernel: Kernel::Pure(matrix_diag_kernel),
        grad: Grad::Fn(matrix_diag_grad),
        rows: &["f32[[0 8 9] [1 2 3] [4 5 0]], i32[-1 1], i32 3, i32 3, f32 0 => f32[[1 8 0] [4 2 9] [0 5 3]]"],
    },
    part_op("MatrixDiagPart", Grad::Fn(matrix_diag_part_grad)),
    part_op("BatchMatrixDiagPart", Grad::Missing),
    Op {
        name: "MatrixDiagPartV2",
        ins: &["input: T", "k: int32", "padding_value: T"],
        outs: &["diagonal: T"],
        attrs: &["T: type"],
        shape: matrix_diag_part_shape,
        kernel: Kernel::Pure(matrix_diag_part_kernel),
        grad: Grad::Fn(matrix_diag_part_grad),
        rows: &["f32[[1 2 3] [4 5 6]], i32[-1 0], f32 9 => f32[[1 5] [4 9]]"],
    },
    Op {
        name: "MatrixDiagPartV3",
        ins: &["input: T", "k: int32", "padding_value: T"],
        outs: &["diagonal: T"],
        attrs: &["T: type", ALIGN],
        shape: matrix_diag_part_shape,
        kernel: Kernel::Pure(matrix_diag_part_kernel),
        grad: Grad::Fn(matrix_diag_part_grad),
        rows: &["f32[[1 2 3] [4 5 6]], i32[-1 2], f32 9 => f32[[9 3] [2 6] [1 5] [4 9]]"],
    },
    set_op(
        "MatrixSetDiag",
        &["input: T", "diagonal: T"],
        &["T: type"],
        Grad::Fn(matrix_set_diag_grad),
        &["f32[[1 2 3] [4 5 6]], f32[7 8] => f32[[7 2 3] [4 8 6]]"],
    ),
    set_op(
        "BatchMatrixSetDiag",
        &["input: T", "diagonal: T"],
        &["T: type"],
        Grad::Missing,
        &["f32[[1 2 3] [4 5 6]], f32[7 8] => f32[[7 2 3] [4 8 6]]"],
    ),
    set_op(
        "MatrixSetDiagV2",
        &["input: T", "diagonal: T", "k: int32"],
        &["T: type"],
        Grad::Fn(matrix_set_diag_v2_grad),
        &["f32[[1 2] [3 4]], f32[7], i32 -1 => f32[[1 2] [7 4]]"],
    ),
    set_op(
        "MatrixSetDiagV3",
        &["input: T", "diagonal: T", "k: int32"],
        &["T: type", ALIGN],
        Grad::Fn(matrix_set_diag_v2_grad),
        &["f32[[1 2] [3 4]], f32[[0 7] [8 9]], i32[0 1] => f32[[8 7] [3 9]]"],
    ),
    Op {
        name: "MatrixBandPart",
        ins: &["input: T", "num_lower: Tindex", "num_upper: Tindex"],
        outs: &["band: T"],
        attrs: &["T: type", "Tindex: {int32, int64} = DT_INT64"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(band_part_kernel),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let (lower, upper) = (g.input(op, 1)?, g.input(op, 2)?);
            let band = g.op("MatrixBandPart").input(grad).input(lower).input(upper).output()?;
            Ok(vec![Some(band.into()), None, None])
        }),
        rows: &[
            "f32[[1 2 3] [4 5 6] [7 8 9]], i64 1, i64 0 => f32[[1 0 0] [4 5 0] [0 8 9]]",
            "f32[[1 2] [3 4]], i32 0, i32 -1 => f32[[1 2] [0 4]]",
        ],
    },
    Op {
        name: "BatchMatrixBandPart",
        ins: &["input: T", "num_lower: int64", "num_upper: int64"],
        outs: &["band: T"],
        attrs: &["T: type"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(band_part_kernel),
        grad: Grad::Missing,
        rows: &["f32[[1 2] [3 4]], i64 0, i64 0 => f32[[1 0] [0 4]]"],
    },
];

const fn diag_op(name: &'static str, grad: Grad) -> Op {
    Op {
        name,
        ins: &["diagonal: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: |ctx| {
            let input = ctx.input(0).with_rank_at_least(1)?;
            ctx.set(0, input.concatenate(&input.slice_from(-1)))
        },
        kernel: Kernel::Pure(matrix_diag_kernel),
        grad,
        rows: &["f32[[1 2] [3 4]] => f32[[[1 0] [0 2]] [[3 0] [0 4]]]"],
    }
}

const fn part_op(name: &'static str, grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["diagonal: T"],
        attrs: &["T: type"],
        shape: |ctx| {
            let input = ctx.input(0).with_rank_at_least(2)?;
            let length = input.dim(-1).zip(input.dim(-2)).map(|(a, b)| a.min(b));
            ctx.set(0, if input.rank().is_some() { input.slice(0, -2).push(length) } else { Shape::unknown() })
        },
        kernel: Kernel::Pure(matrix_diag_part_kernel),
        grad,
        rows: &["f32[[1 2 3] [4 5 6]] => f32[1 5]"],
    }
}

const fn set_op(
    name: &'static str,
    ins: &'static [&'static str],
    attrs: &'static [&'static str],
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins,
        outs: &["output: T"],
        attrs,
        shape: matrix_set_diag_shape,
        kernel: Kernel::Pure(matrix_set_diag_kernel),
        grad,
        rows,
    }
}

fn diag_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    if input.rank() == 0 {
        bail!(InvalidArgument, "Input must be at least rank 1, got 0");
    }
    let dims = [input.dims(), input.dims()].concat();
    let zeros = Tensor::zeros(input.dtype(), &dims)?;
    let step = input.len() + 1;
    let output = moved!(input.dtype(), T => {
        let from = T::of(input)?;
        T::change(zeros, |to| {
            from.iter().zip(to.iter_mut().step_by(step)).for_each(|(from, to)| *to = from.clone());
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn diag_part_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let Some(rank) = input.rank() else { return ctx.set(0, Shape::unknown()) };
    if rank % 2 != 0 || rank == 0 {
        bail!(InvalidArgument, "Input must have even and non-zero rank, input rank is {rank}");
    }
    let half = rank as isize / 2;
    ctx.set(0, input.slice(0, half).merge(&input.slice_from(half))?)
}

fn diag_part_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let half = input.rank() / 2;
    if input.rank() == 0 || input.rank() % 2 != 0 {
        bail!(InvalidArgument, "The rank of the tensor should be even and positive, got shape {:?}", input.dims());
    }
    let dims = &input.dims()[..half];
    if dims != &input.dims()[half..] {
        bail!(InvalidArgument, "Invalid shape {:?}: dimensions i and i + {half} do not match", input.dims());
    }
    let step = dims.iter().product::<usize>() + 1;
    let output = moved!(input.dtype(), T => {
        let from = T::of(input)?;
        T::build(input.dtype(), dims, |to| {
            from.iter().step_by(step).zip(to).for_each(|(from, to)| *to = from.clone());
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

/// Which diagonals of matrices are meant, and how shorter ones lie in rows of one length.
#[derive(Clone, Copy)]
struct Band {
    lower: i64,
    upper: i64,
    upper_left: bool,
    lower_left: bool,
}

impl Band {
    const MAIN: Band = Band { lower: 0, upper: 0, upper_left: true, lower_left: true };

    fn new(k: &Tensor, align: &str) -> Result<Band> {
        let (lower, upper) = match (k.rank(), &k.to_i64s()?[..]) {
            (0 | 1, &[one]) => (one, one),
            (1, &[lower, upper]) => (lower, upper),
            _ => bail!(
                InvalidArgument,
                "diag_index must be a scalar or vector with one or two elements, received shape {:?}",
                k.dims()
            ),
        };
        if lower > upper {
            bail!(InvalidArgument, "lower_diag_index must not be larger than upper_diag_index: {lower} > {upper}");
        }
        let upper_left = matches!(align, "LEFT_LEFT" | "LEFT_RIGHT");
        let lower_left = matches!(align, "LEFT_LEFT" | "RIGHT_LEFT");
        Ok(Band { lower, upper, upper_left, lower_left })
    }

    /// The number of diagonals.
    fn count(&self) -> usize {
        (self.upper - self.lower + 1) as usize
    }

    /// Checks that the diagonals lie within matrices of this size.
    fn check(&self, rows: usize, columns: usize) -> Result<()> {
        for (name, k) in [("lower", self.lower), ("upper", self.upper)] {
            if !((-(rows as i64) < k && k < columns as i64) || k == 0) {
                bail!(
                    InvalidArgument,
                    "{name}_diag_index is out of bound: {k}. It must be between {} and {columns}",
                    -(rows as i64)
                );
            }
        }
        Ok(())
    }

    /// The length of the longest diagonal in matrices of this size.
    fn longest(&self, rows: usize, columns: usize) -> usize {
        (rows as i64 + self.upper.min(0)).min(columns as i64 - self.lower.max(0)).max(0) as usize
    }

    /// Calls `visit` for each element of the diagonals of one matrix, with its place among the diagonals (rows of
    /// `longest` elements from the upper one down) and its place in the matrix.
    fn visit(&self, rows: usize, columns: usize, longest: usize, mut visit: impl FnMut(usize, usize)) {
        for (number, d) in (self.lower..=self.upper).rev().enumerate() {
            let length = (rows as i64 + d.min(0)).min(columns as i64 - d.max(0)).max(0) as usize;
            let left = (d >= 0 && self.upper_left) || (d <= 0 && self.lower_left);
            let start = number * longest + if left { 0 } else { longest.saturating_sub(length) };
            let (row, column) = ((-d).max(0) as usize, d.max(0) as usize);
            for i in 0..length.min(longest) {
                visit(start + i, (row + i) * columns + column + i);
            }
        }
    }
}

/// The band that a node means: that of its input `k`, or the main diagonal where it has none.
fn band_of(ctx: &KernelCtx, k: usize) -> Result<Band> {
    if ctx.num_inputs() <= k {
        return Ok(Band::MAIN);
    }
    let align = ctx.node().attr("align").map_or(Ok("LEFT_LEFT"), crate::graph::attr::string)?;
    Band::new(ctx.input(k)?, align)
}

fn known_band(ctx: &InferCtx, k: usize) -> Result<Option<Band>> {
    if ctx.num_inputs() <= k {
        return Ok(Some(Band::MAIN));
    }
    ctx.input(k).with_rank_at_most(1)?;
    ctx.constant(k).map(|k| Band::new(&k, "LEFT_LEFT")).transpose()
}

/// The padding value of a node, or zero.
fn padding_of(ctx: &KernelCtx, index: usize, dtype: DType) -> Result<Tensor> {
    if ctx.num_inputs() <= index {
        return Tensor::zeros(dtype, &[]);
    }
    let padding = ctx.input(index)?;
    if padding.len() != 1 {
        bail!(InvalidArgument, "padding_value must be a scalar, received shape {:?}", padding.dims());
    }
    padding.clone().reshaped(&[])
}

/// The size of the matrices whose diagonals have this length.
fn matrix_size(band: Band, longest: usize, rows: i64, columns: i64) -> Result<(usize, usize)> {
    let least_rows = longest as i64 - band.upper.min(0);
    let least_columns = longest as i64 + band.lower.max(0);
    if rows != -1 && rows < least_rows {
        bail!(InvalidArgument, "The number of rows is too small: {rows}, at least {least_rows} are needed");
    }
    if columns != -1 && columns < least_columns {
        bail!(InvalidArgument, "The number of columns is too small: {columns}, at least {least_columns} are needed");
    }
    let square = least_rows.max(least_columns);
    let (rows, columns) = match (rows, columns) {
        (-1, -1) => (square, square),
        (-1, columns) => (least_rows, columns),
        (rows, -1) => (rows, least_columns),
        both => both,
    };
    if rows != least_rows && columns != least_columns {
        bail!(
            InvalidArgument,
            "The number of rows or columns is not consistent with the specified d_lower, d_upper, and diagonal: {rows} and {columns}"
        );
    }
    Ok((rows as usize, columns as usize))
}

fn matrix_diag_shape(ctx: &mut InferCtx) -> Result<()> {
    let diagonal = ctx.input(0).with_rank_at_least(1)?;
    for i in 2..5 {
        ctx.input(i).with_rank_at_most(1)?;
    }
    let (Some(band), Some(rank)) = (known_band(ctx, 1)?, diagonal.rank()) else { return ctx.set(0, Shape::unknown()) };
    let batch: isize = if band.count() > 1 { -2 } else { -1 };
    if rank < batch.unsigned_abs() {
        bail!(InvalidArgument, "diagonal must be at least 2-dim, received shape: {diagonal}");
    }
    if band.count() > 1 && diagonal.dim(-2).is_some_and(|n| n != band.count()) {
        bail!(
            InvalidArgument,
            "The number of rows of `diagonal` doesn't match the number of diagonals implied from `d_lower` and `d_upper`"
        );
    }
    let batch = diagonal.slice(0, batch);
    let size = |i: usize| ctx.constant(i).map(|v| v.item_i64()).transpose();
    let matrix = match (size(2)?, size(3)?, diagonal.dim(-1)) {
        (Some(rows), Some(columns), Some(longest)) => {
            let (rows, columns) = matrix_size(band, longest, rows, columns)?;
            Shape::matrix(Some(rows), Some(columns))
        }
        _ => Shape::of_rank(2),
    };
    ctx.set(0, batch.concatenate(&matrix))
}

fn matrix_diag_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let diagonal = ctx.input(0)?;
    let band = band_of(ctx, 1)?;
    let count = band.count();
    let rank = diagonal.rank();
    if rank < if count > 1 { 2 } else { 1 } {
        bail!(InvalidArgument, "diagonal must be at least {}-dim, received shape: {:?}", count.min(2), diagonal.dims());
    }
    if count > 1 && diagonal.dims()[rank - 2] != count {
        bail!(
            InvalidArgument,
            "The number of diagonals provided in the input does not match the lower_diag_index and upper_diag_index range: {:?} for {count}",
            diagonal.dims()
        );
    }
    let longest = diagonal.dims()[rank - 1];
    let size = |i: usize| if ctx.num_inputs() > i { ctx.int_input(i) } else { Ok(-1) };
    let (rows, columns) = matrix_size(band, longest, size(2)?, size(3)?)?;
    let batch = if count > 1 { rank - 2 } else { rank - 1 };
    let mut dims = Dims::from_slice(&diagonal.dims()[..batch]);
    dims.extend([rows, columns]);
    let padded = super::fill::full(&padding_of(ctx, 4, diagonal.dtype())?, &dims)?;
    let matrices: usize = dims[..batch].iter().product();
    let output = moved!(diagonal.dtype(), T => {
        let from = T::of(diagonal)?;
        T::change(padded, |to| {
            for m in 0..matrices {
                let (from, to) = (&from[m * count * longest..], &mut to[m * rows * columns..]);
                band.visit(rows, columns, longest, |d, at| to[at] = from[d].clone());
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn matrix_diag_part_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(2)?;
    ctx.input(2).with_rank_at_most(1)?;
    let (Some(band), Some(_)) = (known_band(ctx, 1)?, input.rank()) else { return ctx.set(0, Shape::unknown()) };
    let mut shape = input.slice(0, -2);
    if band.count() > 1 {
        shape = shape.push(Some(band.count()));
    }
    let longest = match (input.dim(-2), input.dim(-1)) {
        (Some(rows), Some(columns)) => {
            band.check(rows, columns)?;
            Some(band.longest(rows, columns))
        }
        _ => None,
    };
    ctx.set(0, shape.push(longest))
}

fn matrix_diag_part_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let [batch @ .., rows, columns] = input.dims() else {
        bail!(InvalidArgument, "input must be at least 2-dim, received shape: {:?}", input.dims());
    };
    let (rows, columns) = (*rows, *columns);
    let band = band_of(ctx, 1)?;
    band.check(rows, columns)?;
    let (count, longest) = (band.count(), band.longest(rows, columns));
    let mut dims = Dims::from_slice(batch);
    if count > 1 {
        dims.push(count);
    }
    dims.push(longest);
    let padded = super::fill::full(&padding_of(ctx, 2, input.dtype())?, &dims)?;
    let matrices: usize = batch.iter().product();
    let output = moved!(input.dtype(), T => {
        let from = T::of(input)?;
        T::change(padded, |to| {
            for m in 0..matrices {
                let (from, to) = (&from[m * rows * columns..], &mut to[m * count * longest..]);
                band.visit(rows, columns, longest, |d, at| to[d] = from[at].clone());
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn matrix_set_diag_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(2)?;
    let diagonal = ctx.input(1).with_rank_at_least(1)?;
    let Some(band) = known_band(ctx, 2)? else { return ctx.set(0, input) };
    if let (Some(rows), Some(columns)) = (input.dim(-2), input.dim(-1)) {
        band.check(rows, columns)?;
        let mut shape = input.slice(0, -2);
        if band.count() > 1 {
            shape = shape.push(Some(band.count()));
        }
        shape.push(Some(band.longest(rows, columns))).merge(&diagonal)?;
    }
    let batch: isize = if band.count() > 1 { -2 } else { -1 };
    if let (Some(rank), Some(_)) = (diagonal.rank(), input.rank()) {
        if rank < batch.unsigned_abs() {
            bail!(InvalidArgument, "diagonal must be at least 2-dim, received shape: {diagonal}");
        }
        let merged = input.slice(0, -2).merge(&diagonal.slice(0, batch))?;
        return ctx.set(0, merged.concatenate(&input.slice_from(-2)));
    }
    ctx.set(0, input)
}

fn matrix_set_diag_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, diagonal) = (ctx.input(0)?, ctx.input(1)?);
    let [batch @ .., rows, columns] = input.dims() else {
        bail!(InvalidArgument, "input must be at least 2-dim, received shape: {:?}", input.dims());
    };
    let (rows, columns) = (*rows, *columns);
    let band = band_of(ctx, 2)?;
    band.check(rows, columns)?;
    let (count, longest) = (band.count(), band.longest(rows, columns));
    let mut expected = Dims::from_slice(batch);
    if count > 1 {
        expected.push(count);
    }
    expected.push(longest);
    if diagonal.dims() != &expected[..] {
        bail!(
            InvalidArgument,
            "Either first dimensions of diagonal don't match input.shape[:-2], or diagonal.shape[:-1] is not equal to the longests diagonal in range [lower_diag_index:upper_diag_index].\nInput shape: {:?}\nDiagonal shape: {:?}\nExpected diagonal shape: {expected:?}",
            input.dims(),
            diagonal.dims()
        );
    }
    let matrices: usize = batch.iter().product();
    let diagonal = diagonal.clone();
    let input = ctx.take(0)?;
    let output = moved!(input.dtype(), T => {
        let from = T::of(&diagonal)?;
        T::change(input, |to| {
            for m in 0..matrices {
                let (from, to) = (&from[m * count * longest..], &mut to[m * rows * columns..]);
                band.visit(rows, columns, longest, |d, at| to[at] = from[d].clone());
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn band_part_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let [.., rows, columns] = input.dims() else {
        bail!(InvalidArgument, "input must be at least 2-dim, received shape: {:?}", input.dims());
    };
    let (rows, columns) = (*rows, *columns);
    let mut limits = [0i64; 2];
    for (i, (name, what, size)) in [("num_lower", "rows", rows), ("num_upper", "columns", columns)].into_iter().enumerate() {
        let limit = ctx.input(i + 1)?;
        if limit.rank() != 0 {
            bail!(InvalidArgument, "{name} must be scalar, got shape {:?}", limit.dims());
        }
        let value = limit.item_i64()?;
        if value > size as i64 {
            bail!(InvalidArgument, "{name} must be negative or less or equal to number of {what} ({size}) got: {value}");
        }
        limits[i] = if value < 0 { i64::MAX / 4 } else { value };
    }
    let input = ctx.take(0)?;
    let output = moved!(input.dtype(), T => T::change(input, |to| {
        if columns == 0 {
            return Ok(());
        }
        for (i, row) in to.chunks_exact_mut(columns).enumerate() {
            let i = (i % rows) as i64;
            let from = (i - limits[0]).clamp(0, columns as i64) as usize;
            let to = (i + limits[1] + 1).clamp(from as i64, columns as i64) as usize;
            row[..from].fill(T::default());
            row[to..].fill(T::default());
        }
        Ok(())
    }))?;
    ctx.set(0, output)
}

/// The alignment of a node's diagonals; only the third version of the ops has one.
fn align_of(g: &Graph, op: Operation) -> Result<Option<String>> {
    if g.has_attr(op, "align") { g.string_attr(op, "align").map(Some) } else { Ok(None) }
}

fn matrix_diag_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let options = MatrixDiag { k: inputs.get(1).map(|&k| k.into()), align: align_of(g, op)?, ..Default::default() };
    let mut out = vec![None; inputs.len()];
    out[0] = Some(g.matrix_diag_part(grad, options)?.into());
    Ok(out)
}

fn matrix_diag_part_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let shape = g.shape(inputs[0])?;
    let mut options = MatrixDiag { k: inputs.get(1).map(|&k| k.into()), align: align_of(g, op)?, ..Default::default() };
    let known = shape.dim(-2).zip(shape.dim(-1)).filter(|(a, b)| inputs.len() > 1 || a == b);
    let input_grad = match known {
        Some((rows, columns)) => {
            if inputs.len() > 1 {
                options.num_rows = Some(rows.into());
                options.num_cols = Some(columns.into());
            }
            g.matrix_diag(grad, options)?
        }
        None => {
            let zeros = g.zeros_like(inputs[0])?;
            g.matrix_set_diag(zeros, grad, options)?
        }
    };
    let mut out = vec![None; inputs.len()];
    out[0] = Some(input_grad.into());
    Ok(out)
}

fn matrix_set_diag_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let input = g.shape(g.input(op, 0)?)?.merge(&g.shape(grad)?)?;
    let diagonal = g.shape(g.input(op, 1)?)?;
    let dtype = g.dtype(grad)?;
    let batch = match (input.rank(), diagonal.rank()) {
        (Some(_), Some(_)) => input.slice(0, -2).merge(&diagonal.slice(0, -1))?,
        _ => Shape::unknown(),
    };
    let matrix = input.dim(-2).zip(input.dim(-1));
    let zeros = match (batch.to_dims(), matrix) {
        (Some(mut dims), Some((rows, columns))) => {
            dims.push(rows.min(columns));
            g.zeros(&dims[..], dtype)?
        }
        _ => {
            let _colocated = g.colocate_with(grad.op)?;
            let shape = g.shape_tensor(grad)?;
            let rank = g.rank(grad)?;
            let outer = g.operator("sub", "Sub", rank, 2i32)?;
            let batch = g.slice(shape, [0i32], [outer])?;
            let start = g.operator("sub", "Sub", rank, 2i32)?;
            let matrix = g.slice(shape, [start], [2i32])?;
            let axes = g.constant([0i32])?;
            let least = g.op("Min").input(matrix).input(axes).attr("keep_dims", false).output()?;
            let shape = g.concat(&[batch.into(), [least].into()], 0i32)?;
            drop(_colocated);
            g.zeros(shape, dtype)?
        }
    };
    let input_grad = g.matrix_set_diag(grad, zeros, MatrixDiag::default())?;
    let diagonal_grad = g.matrix_diag_part(grad, MatrixDiag::default())?;
    Ok(vec![Some(input_grad.into()), Some(diagonal_grad.into())])
}

fn matrix_set_diag_v2_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (diagonal, k) = (g.input(op, 1)?, g.input(op, 2)?);
    let options =
        || -> Result<MatrixDiag> { Ok(MatrixDiag { k: Some(k.into()), align: align_of(g, op)?, ..Default::default() }) };
    let dtype = g.dtype(grad)?;
    let zeros = match g.shape(diagonal)?.to_dims() {
        Some(dims) => g.zeros(&dims[..], dtype)?,
        None => {
            let shape = g.shape_tensor(diagonal)?;
            g.zeros(shape, dtype)?
        }
    };
    let input_grad = g.matrix_set_diag(grad, zeros, options()?)?;
    let diagonal_grad = g.matrix_diag_part(grad, options()?)?;
    Ok(vec![Some(input_grad.into()), Some(diagonal_grad.into()), None])
}

/// The options of the functions on diagonals of matrices.
#[derive(Clone, Debug, Default)]
pub struct MatrixDiag {
    /// Which diagonals: one number, or the lowest and the highest; 0 if none is given. Positive ones lie above the main
    /// diagonal.
    pub k: Option<Arg>,
    /// The number of rows of the matrices that are made; as many as needed if none is given.
    pub num_rows: Option<Arg>,
    /// The number of columns.
    pub num_cols: Option<Arg>,
    /// What stands where no diagonal is; 0 if none is given.
    pub padding_value: Option<Arg>,
    /// How shorter diagonals lie in their row, above and below the main one; `RIGHT_LEFT` if none is given.
    pub align: Option<String>,
}

impl MatrixDiag {
    fn align(&self) -> &str {
        self.align.as_deref().unwrap_or("RIGHT_LEFT")
    }

    fn k(&self) -> Arg {
        self.k.clone().unwrap_or(Arg::from(0i32))
    }

    fn padding(&self, dtype: DType) -> Arg {
        let zero = if dtype == DType::Bool { Arg::from(false) } else { Arg::from(0i32) };
        self.padding_value.clone().unwrap_or(zero)
    }
}

impl Graph {
    /// Matrices with these diagonals (`tf.linalg.diag`).
    ///
    /// # Errors
    /// `InvalidArgument` for sizes that don't fit the diagonals.
    pub fn matrix_diag(&self, diagonal: Output, options: MatrixDiag) -> Result<Output> {
        let least = || Arg::from(-1i32);
        let (rows, columns) = (options.num_rows.clone(), options.num_cols.clone());
        let padding = options.padding(self.dtype(diagonal)?);
        let call = self.call("MatrixDiagV3").default_name("diag").arg(diagonal).arg(options.k());
        let call = call.arg(rows.unwrap_or_else(least)).arg(columns.unwrap_or_else(least)).arg(padding);
        call.attr("align", options.align()).output()
    }

    /// Diagonals of matrices (`tf.linalg.diag_part`).
    ///
    /// # Errors
    /// `InvalidArgument` for diagonals that aren't within the matrices.
    pub fn matrix_diag_part(&self, input: Output, options: MatrixDiag) -> Result<Output> {
        let padding = options.padding(self.dtype(input)?);
        let call = self.call("MatrixDiagPartV3").default_name("diag_part").arg(input).arg(options.k()).arg(padding);
        call.attr("align", options.align()).output()
    }

    /// Matrices with these diagonals replaced (`tf.linalg.set_diag`).
    ///
    /// # Errors
    /// `InvalidArgument` for diagonals that don't fit the matrices.
    pub fn matrix_set_diag(&self, input: Output, diagonal: impl Into<Arg>, options: MatrixDiag) -> Result<Output> {
        let call = self.call("MatrixSetDiagV3").default_name("set_diag").arg(input).arg(diagonal).arg(options.k());
        call.attr("align", options.align()).output()
    }

    /// A tensor of twice the rank with these elements on its diagonal (`tf.linalg.tensor_diag`).
    ///
    /// # Errors
    /// `InvalidArgument` for a scalar.
    pub fn tensor_diag(&self, diagonal: impl Into<Arg>) -> Result<Output> {
        self.call("Diag").arg(diagonal).output()
    }

    /// The diagonal of a tensor of even rank (`tf.linalg.tensor_diag_part`).
    ///
    /// # Errors
    /// `InvalidArgument` where the first half of the dimensions isn't the second.
    pub fn tensor_diag_part(&self, input: Output) -> Result<Output> {
        self.op("DiagPart").input(input).output()
    }

    /// Matrices of which only the band of so many diagonals below and above the main one is kept; a negative number keeps
    /// all (`tf.linalg.band_part`).
    ///
    /// # Errors
    /// `InvalidArgument` for numbers that aren't scalar integers.
    pub fn matrix_band_part(&self, input: Output, num_lower: impl Into<Arg>, num_upper: impl Into<Arg>) -> Result<Output> {
        self.call("MatrixBandPart").arg(input).arg(num_lower).arg(num_upper).output()
    }
}
