//! Going over the matrices in the last two dimensions.

use crate::compute::linalg::{Mat, Scalar};
use crate::compute::pool;
use crate::error::{Error, Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::math::cast::cast_tensor;
use crate::tensor::{DType, Element, Tensor};

/// Runs a block with `$T` bound to the type of a dtype of which matrices can be decomposed.
macro_rules! linear {
    ($dtype:expr, $T:ident => $body:expr) => {
        crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64,
            Complex64 num_complex::Complex<f32>, Complex128 num_complex::Complex<f64>)
    };
}
pub(crate) use linear;

/// What a kernel computes from tensors of one of the four dtypes.
pub type Compute = fn(&KernelCtx, &[Tensor]) -> Result<Vec<Tensor>>;

/// Runs a kernel on the inputs of a node; half is computed in float.
pub fn run(ctx: &mut KernelCtx, compute: Compute) -> Result<()> {
    let mut inputs = Vec::with_capacity(ctx.num_inputs());
    let mut half = false;
    for i in 0..ctx.num_inputs() {
        let input = ctx.input(i)?;
        let narrow = matches!(input.dtype(), DType::Half);
        half |= narrow;
        inputs.push(if narrow { cast_tensor(input, DType::Float)? } else { input.clone() });
    }
    let outputs = compute(ctx, &inputs)?;
    for (i, output) in outputs.into_iter().enumerate() {
        let narrow = half && output.dtype() == DType::Float;
        ctx.set(i, if narrow { cast_tensor(&output, DType::Half)? } else { output })?;
    }
    Ok(())
}

/// Inputs of the same outer dimensions.
pub struct Batch<'a> {
    /// The outer dimensions.
    pub outer: &'a [usize],
    /// The product of the outer dimensions.
    pub count: usize,
    inputs: &'a [Tensor],
}

impl<'a> Batch<'a> {
    /// Looks at the ranks and the outer dimensions.
    ///
    /// # Errors
    /// `InvalidArgument` where they differ, or a rank is below 2.
    pub fn new(inputs: &'a [Tensor]) -> Result<Batch<'a>> {
        let first = &inputs[0];
        let rank = first.rank();
        if rank < 2 {
            bail!(InvalidArgument, "Input tensor 0 must have rank >= 2, got {rank}");
        }
        let outer = &first.dims()[..rank - 2];
        for input in &inputs[1..] {
            if input.rank() != rank {
                bail!(InvalidArgument, "All input tensors must have the same rank.");
            }
            if input.dims()[..rank - 2] != *outer {
                bail!(InvalidArgument, "All input tensors must have the same outer dimensions.");
            }
        }
        Ok(Batch { outer, count: outer.iter().product(), inputs })
    }

    /// Rows and columns of an input's matrices.
    pub fn sizes(&self, input: usize) -> (usize, usize) {
        let dims = self.inputs[input].dims();
        (dims[dims.len() - 2], dims[dims.len() - 1])
    }

    /// The side of the square matrices of the first input.
    ///
    /// # Errors
    /// `InvalidArgument` where they aren't square.
    pub fn square(&self) -> Result<usize> {
        match self.sizes(0) {
            (rows, columns) if rows == columns => Ok(rows),
            (rows, columns) => bail!(InvalidArgument, "Input matrix must be square. Got {rows} rows and {columns} columns."),
        }
    }

    /// Checks that rows of both inputs agree.
    ///
    /// # Errors
    /// `InvalidArgument` where they don't.
    pub fn solver(&self, square: bool) -> Result<()> {
        let ((rows, columns), (right, _)) = (self.sizes(0), self.sizes(1));
        if square && rows != columns {
            bail!(InvalidArgument, "First input (lhs) must be a square matrix. Got {rows} rows and {columns} columns.");
        }
        if rows != right {
            bail!(InvalidArgument, "Input matrix and rhs are incompatible. Their rows are {rows} and {right}.");
        }
        Ok(())
    }

    /// The outer dimensions with some more.
    pub fn dims(&self, inner: &[usize]) -> Vec<usize> {
        self.outer.iter().chain(inner).copied().collect()
    }

    /// What a function makes of each matrix of the first input and those beside it in the others.
    ///
    /// # Errors
    /// The first error of the function.
    pub fn map<T: Scalar + Element, R: Send>(&self, function: impl Fn(&[Mat<T>]) -> Result<R> + Sync) -> Result<Vec<R>> {
        let slices: Vec<(&[T], usize, usize)> = (0..self.inputs.len())
            .map(|i| self.inputs[i].as_slice::<T>().map(|s| (s, self.sizes(i).0, self.sizes(i).1)))
            .collect::<Result<_>>()?;
        let (rows, columns) = self.sizes(0);
        let work = rows.saturating_mul(columns).saturating_mul(rows.min(columns)).max(1);
        let mut results: Vec<Option<Result<R>>> = Vec::new();
        results.try_reserve_exact(self.count).map_err(|_| too_many(self.count))?;
        results.resize_with(self.count, || None);
        pool::parallel_pieces(&mut results, 1, (1usize << 16).div_ceil(work), |start, piece| {
            for (i, slot) in piece.iter_mut().enumerate() {
                let matrices: Vec<Mat<T>> = slices
                    .iter()
                    .map(|&(data, rows, columns)| {
                        Mat::from_rows(&data[(start + i) * rows * columns..][..rows * columns], rows, columns)
                    })
                    .collect();
                *slot = Some(function(&matrices));
            }
        });
        results.into_iter().map(|r| r.unwrap_or_else(|| Err(Error::internal("a matrix was left out")))).collect()
    }

    /// One tensor of a part for each matrix.
    ///
    /// # Errors
    /// `InvalidArgument` where the parts don't have the inner dimensions.
    pub fn gather<T: Element>(&self, inner: &[usize], parts: impl IntoIterator<Item = Vec<T>>) -> Result<Tensor> {
        let dims = self.dims(inner);
        let mut data = Vec::with_capacity(crate::tensor::element_count(&dims)?.min(1 << 24));
        for part in parts {
            data.extend(part);
        }
        Tensor::new(&dims, data)
    }
}

fn too_many(count: usize) -> Error {
    Error::resource_exhausted(format!("OOM when allocating results for {count} matrices"))
}

/// The rows of a matrix one after another.
pub fn rows<T: Scalar>(matrix: &Mat<T>) -> Vec<T> {
    let mut rows = Vec::with_capacity(matrix.rows() * matrix.columns());
    matrix.append_rows(&mut rows);
    rows
}
