//! Functions that build reductions, products, sequences and scans.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor};

/// The axes of a reduction.
#[derive(Clone, Debug)]
pub enum Axes {
    /// All of them.
    All,
    /// These: a number, a list, or an int32 or int64 tensor; negative ones count from the end.
    These(Arg),
}

impl From<i32> for Axes {
    fn from(axis: i32) -> Axes {
        Axes::These(axis.into())
    }
}

impl<const N: usize> From<[i32; N]> for Axes {
    fn from(axes: [i32; N]) -> Axes {
        Axes::These(axes.into())
    }
}

impl From<&[i32]> for Axes {
    fn from(axes: &[i32]) -> Axes {
        Axes::These(axes.into())
    }
}

impl From<Vec<i32>> for Axes {
    fn from(axes: Vec<i32>) -> Axes {
        Axes::These(axes.into())
    }
}

impl From<Output> for Axes {
    fn from(axes: Output) -> Axes {
        Axes::These(axes.into())
    }
}

impl From<Tensor> for Axes {
    fn from(axes: Tensor) -> Axes {
        Axes::These(axes.into())
    }
}

impl From<Arg> for Axes {
    fn from(axes: Arg) -> Axes {
        Axes::These(axes)
    }
}

impl From<Option<i32>> for Axes {
    fn from(axis: Option<i32>) -> Axes {
        axis.map_or(Axes::All, Axes::from)
    }
}

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for axes out of range or a dtype that the op doesn't take.
            pub fn $name(&self, input: Output, axes: impl Into<Axes>, keep_dims: bool) -> Result<Output> {
                self.reduce($op, input, axes.into(), keep_dims)
            })*
        }
    };
}

reductions! {
    /// The sum over some axes (`tf.reduce_sum`).
    reduce_sum, "Sum";
    /// The product over some axes (`tf.reduce_prod`).
    reduce_prod, "Prod";
    /// The mean over some axes (`tf.reduce_mean`); of integers rounded towards zero.
    reduce_mean, "Mean";
    /// The largest element over some axes (`tf.reduce_max`).
    reduce_max, "Max";
    /// The smallest element over some axes (`tf.reduce_min`).
    reduce_min, "Min";
    /// Whether all are true over some axes (`tf.reduce_all`).
    reduce_all, "All";
    /// Whether any is true over some axes (`tf.reduce_any`).
    reduce_any, "Any";
    /// The root of the sum of squares over some axes (`tf.math.reduce_euclidean_norm`).
    reduce_euclidean_norm, "EuclideanNorm";
}

/// What [`Graph::matmul_with`] does with its operands first.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatMulOptions {
    /// Transposes the first.
    pub transpose_a: bool,
    /// Transposes the second.
    pub transpose_b: bool,
    /// Transposes and conjugates the first.
    pub adjoint_a: bool,
    /// Transposes and conjugates the second.
    pub adjoint_b: bool,
    /// Says that the first has many zeros.
    pub a_is_sparse: bool,
    /// Says that the second has many zeros.
    pub b_is_sparse: bool,
}

/// How a scan runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanOptions {
    /// An element isn't part of its own result.
    pub exclusive: bool,
    /// From the end to the start.
    pub reverse: bool,
}

impl Graph {
    fn reduce(&self, op: &str, input: Output, axes: Axes, keep_dims: bool) -> Result<Output> {
        let all = matches!(axes, Axes::All);
        let axes = match axes {
            Axes::All => self.plain().all_axes(input)?.into(),
            Axes::These(axes) => axes,
        };
        let output = self.call(op).arg(input).arg(axes).attr("keep_dims", keep_dims).output()?;
        if all && !keep_dims && !self.shape(output)?.is_fully_known() {
            self.set_shape(output, Shape::scalar())?;
        }
        Ok(output)
    }

    /// All axes of a tensor, as a constant if the rank is known.
    fn all_axes(&self, input: Output) -> Result<Output> {
        match self.shape(input)?.rank() {
            Some(rank) if rank > 0 => self.constant((0..rank as i32).collect::<Vec<i32>>()),
            _ => {
                let rank = self.rank(input)?;
                self.range(0i32, rank, 1i32)
            }
        }
    }

    /// The logarithm of the sum of exponentials over some axes (`tf.reduce_logsumexp`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range or a dtype that isn't of floats.
    pub fn reduce_logsumexp(&self, input: Output, axes: impl Into<Axes>, keep_dims: bool) -> Result<Output> {
        let axes = axes.into();
        let (g, scope) = self.enter("ReduceLogSumExp")?;
        let raw_max = g.reduce_max(input, axes.clone(), true)?;
        let is_finite = g.is_finite(raw_max)?;
        let zeros = g.op("ZerosLike").input(raw_max).output()?;
        let selected = g.op("Select").input(is_finite).input(raw_max).input(zeros).output()?;
        let mut max = g.stop_gradient(selected)?;
        let shifted = g.subtract(input, max)?;
        let exponentials = g.exp(shifted)?;
        let sum = g.reduce_sum(exponentials, axes.clone(), keep_dims)?;
        let mut result = g.log(sum)?;
        if !keep_dims {
            let shape = g.op("Shape").input(result).output()?;
            max = g.reshape(max, shape)?;
        }
        result = g.named(scope.name()).math_add(result, max)?;
        if matches!(axes, Axes::All) && !keep_dims && !g.shape(result)?.is_fully_known() {
            g.set_shape(result, Shape::scalar())?;
        }
        Ok(result)
    }

    /// The variance over some axes (`tf.math.reduce_variance`).
    ///
    /// # Errors
    /// `InvalidArgument` for integers or axes out of range.
    pub fn reduce_variance(&self, input: Output, axes: impl Into<Axes>, keep_dims: bool) -> Result<Output> {
        let axes = axes.into();
        let (g, _scope) = self.enter("reduce_variance")?;
        let means = g.reduce_mean(input, axes.clone(), true)?;
        if g.dtype(means)?.is_integer() {
            bail!(InvalidArgument, "Input must be either real or complex. Received integer type {}.", g.dtype(means)?);
        }
        let difference = g.sub(input, means)?;
        let dtype = g.dtype(difference)?;
        let squares = if dtype.is_complex() {
            let conjugate = g.op("Conj").input(difference).output()?;
            let product = g.multiply(conjugate, difference)?;
            g.op("Real").input(product).attr("Tout", dtype.real()).output()?
        } else {
            g.square(difference)?
        };
        g.reduce_mean(squares, axes, keep_dims)
    }

    /// The standard deviation over some axes (`tf.math.reduce_std`).
    ///
    /// # Errors
    /// As [`Graph::reduce_variance`].
    pub fn reduce_std(&self, input: Output, axes: impl Into<Axes>, keep_dims: bool) -> Result<Output> {
        let (g, _scope) = self.enter("reduce_std")?;
        let variance = g.reduce_variance(input, axes, keep_dims)?;
        g.sqrt(variance)
    }

    /// The number of elements that aren't zero, as int64 (`tf.count_nonzero`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range.
    pub fn count_nonzero(&self, input: Output, axes: impl Into<Axes>, keep_dims: bool) -> Result<Output> {
        let (g, _scope) = self.enter("count_nonzero")?;
        let dtype = g.dtype(input)?;
        let predicate = if dtype == DType::Bool {
            input
        } else {
            let zero = g.zeros(Arg::List(Vec::new()), dtype)?;
            g.not_equal(input, zero)?
        };
        let ones = g.cast(predicate, DType::Int64)?;
        g.reduce_sum(ones, axes, keep_dims)
    }

    /// The index of the largest element along an axis, as int64 (`tf.argmax`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn argmax(&self, input: Output, axis: impl Into<Arg>) -> Result<Output> {
        self.argmax_as(input, axis, DType::Int64)
    }

    /// The index of the largest element along an axis in an integer type.
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range or another type.
    pub fn argmax_as(&self, input: Output, axis: impl Into<Arg>, output_type: DType) -> Result<Output> {
        self.call("ArgMax").arg(input).arg(axis).attr("output_type", output_type).output()
    }

    /// The index of the smallest element along an axis, as int64 (`tf.argmin`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn argmin(&self, input: Output, axis: impl Into<Arg>) -> Result<Output> {
        self.argmin_as(input, axis, DType::Int64)
    }

    /// The index of the smallest element along an axis as int32 or int64.
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range or another type.
    pub fn argmin_as(&self, input: Output, axis: impl Into<Arg>, output_type: DType) -> Result<Output> {
        self.call("ArgMin").arg(input).arg(axis).attr("output_type", output_type).output()
    }

    /// Running sums along an axis (`tf.cumsum`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn cumsum(&self, x: Output, axis: impl Into<Arg>, options: ScanOptions) -> Result<Output> {
        self.scan_node("Cumsum", x, axis.into(), options)
    }

    /// Running products along an axis (`tf.cumprod`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn cumprod(&self, x: Output, axis: impl Into<Arg>, options: ScanOptions) -> Result<Output> {
        self.scan_node("Cumprod", x, axis.into(), options)
    }

    /// Logarithms of running sums of exponentials along an axis (`tf.math.cumulative_logsumexp`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn cumulative_logsumexp(&self, x: Output, axis: impl Into<Arg>, options: ScanOptions) -> Result<Output> {
        self.scan_node("CumulativeLogsumexp", x, axis.into(), options)
    }

    fn scan_node(&self, op: &str, x: Output, axis: Arg, options: ScanOptions) -> Result<Output> {
        self.call(op).arg(x).arg(axis).attr("exclusive", options.exclusive).attr("reverse", options.reverse).output()
    }

    /// The numbers from `start` on by steps of `delta`, before `limit` (`tf.range`). Arguments of different types are
    /// cast to the largest of int32, int64, float32, float64.
    ///
    /// # Errors
    /// `InvalidArgument` for a step of zero or away from the limit, where they are constants, or other dtypes.
    pub fn range(&self, start: impl Into<Arg>, limit: impl Into<Arg>, delta: impl Into<Arg>) -> Result<Output> {
        const ORDER: [DType; 4] = [DType::Int32, DType::Int64, DType::Float, DType::Double];
        let (g, scope) = self.enter("range")?;
        let mut inputs = Vec::with_capacity(3);
        let mut widest = 0;
        for (arg, name) in [(start.into(), "start"), (limit.into(), "limit"), (delta.into(), "delta")] {
            let input = g.convert(&arg, None, name)?;
            let dtype = g.dtype(input)?;
            let Some(order) = ORDER.iter().position(|&d| d == dtype) else {
                bail!(InvalidArgument, "a range of {dtype} can't be made");
            };
            widest = widest.max(order);
            inputs.push(input);
        }
        let mut node = g.op("Range").name(scope.name());
        for input in inputs {
            node = node.input(g.cast(input, ORDER[widest])?);
        }
        node.output()
    }

    /// The sum of tensors of one shape and dtype (`tf.add_n`). One tensor is returned as it is, or passed through a node
    /// of the name given by [`Graph::named`].
    ///
    /// # Errors
    /// `InvalidArgument` without inputs, or where shapes or dtypes differ.
    pub fn add_n(&self, inputs: &[Output]) -> Result<Output> {
        match inputs {
            [] => bail!(InvalidArgument, "Inputs must be an iterable of at least one Tensor with the same dtype and shape."),
            [one] if self.name_or("").is_empty() => Ok(*one),
            [one] => self.identity(*one),
            many => self.op("AddN").input_list(many).output(),
        }
    }

    /// The product of two matrices, or of the matrices in the last two dimensions (`tf.matmul`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes or dtypes don't fit.
    pub fn matmul(&self, a: impl Into<Arg>, b: impl Into<Arg>) -> Result<Output> {
        self.matmul_with(a, b, MatMulOptions::default())
    }

    /// [`Graph::matmul`] of transposed, conjugated or sparse operands.
    ///
    /// # Errors
    /// `InvalidArgument` where shapes or dtypes don't fit, or an operand is both transposed and adjoint.
    pub fn matmul_with(&self, a: impl Into<Arg>, b: impl Into<Arg>, options: MatMulOptions) -> Result<Output> {
        let MatMulOptions { mut transpose_a, mut transpose_b, mut adjoint_a, mut adjoint_b, a_is_sparse, b_is_sparse } = options;
        let (g, scope) = self.enter("MatMul")?;
        if (transpose_a && adjoint_a) || (transpose_b && adjoint_b) {
            bail!(InvalidArgument, "Only one of `transpose` and `adjoint` can be true for one operand");
        }
        let mut a = g.convert(&a.into(), None, "a")?;
        let b = b.into();
        let mut b = g.convert(&b, if b.output().is_some() { None } else { Some(g.dtype(a)?) }, "b")?;
        let has_batch = |shape: Shape| shape.rank().is_none_or(|r| r > 2);
        if !a_is_sparse && !b_is_sparse && (has_batch(g.shape(a)?) || has_batch(g.shape(b)?)) {
            if transpose_a {
                a = g.conj(a)?;
                adjoint_a = true;
            }
            if transpose_b {
                b = g.conj(b)?;
                adjoint_b = true;
            }
            let node = g.op("BatchMatMulV2").name(scope.name()).input(a).input(b);
            return node.attr("adj_x", adjoint_a).attr("adj_y", adjoint_b).output();
        }
        if adjoint_a {
            a = g.conj(a)?;
            transpose_a = true;
        }
        if adjoint_b {
            b = g.conj(b)?;
            transpose_b = true;
        }
        let dtypes = (g.dtype(a)?, g.dtype(b)?);
        let may_be_sparse = |d: DType| matches!(d, DType::Float | DType::Bfloat16);
        let mixed = dtypes.0 != dtypes.1 && (dtypes.0 == DType::Bfloat16 || dtypes.1 == DType::Bfloat16);
        let sparse = (a_is_sparse || b_is_sparse) && may_be_sparse(dtypes.0) && may_be_sparse(dtypes.1);
        let node = g.op(if sparse || mixed { "SparseMatMul" } else { "MatMul" }).name(scope.name());
        let node = node.input(a).input(b).attr("transpose_a", transpose_a).attr("transpose_b", transpose_b);
        if !(sparse || mixed) {
            return node.output();
        }
        let product = node.attr("a_is_sparse", a_is_sparse).attr("b_is_sparse", b_is_sparse).output()?;
        if dtypes == (DType::Bfloat16, DType::Bfloat16) { g.cast(product, DType::Bfloat16) } else { Ok(product) }
    }

    /// The product of a matrix and a vector, or of batches of them (`tf.linalg.matvec`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes or dtypes don't fit.
    pub fn matvec(&self, a: Output, b: Output, options: MatMulOptions) -> Result<Output> {
        let (g, _scope) = self.enter("MatVec")?;
        let column = g.expand_dims(b, -1i32)?;
        let product = g.matmul_with(a, column, options)?;
        g.squeeze(product, &[-1])
    }

    /// The sums of the rows of each segment, by sorted segment ids (`tf.segment_sum`).
    ///
    /// # Errors
    /// `InvalidArgument` where the ids aren't a vector of integers.
    pub fn segment_sum(&self, data: Output, segment_ids: impl Into<Arg>) -> Result<Output> {
        self.call("SegmentSum").arg(data).arg(segment_ids).output()
    }

    /// The sums of the rows of each segment, by ids in any order; negative ones are left out (`tf.unsorted_segment_sum`).
    ///
    /// # Errors
    /// `InvalidArgument` where the data's shape doesn't begin with that of the ids.
    pub fn unsorted_segment_sum(
        &self,
        data: Output,
        segment_ids: impl Into<Arg>,
        num_segments: impl Into<Arg>,
    ) -> Result<Output> {
        self.call("UnsortedSegmentSum").arg(data).arg(segment_ids).arg(num_segments).output()
    }
}
