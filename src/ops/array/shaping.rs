//! Shapes as tensors, and other shapes for the same elements.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::shape;
use crate::tensor::{DType, Dims, Shape, Tensor};

const OUT_TYPE: &str = "out_type: {int32, int64} = DT_INT32";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Shape",
        ins: &["input: T"],
        outs: &["output: out_type"],
        attrs: &["T: type", OUT_TYPE],
        shape: |ctx| ctx.set(0, Shape::vector(ctx.input(0).rank())),
        kernel: Kernel::Pure(shape_kernel),
        grad: Grad::None("integers"),
        rows: &["f32[[1 2 3]] => i32[1 3]", "out_type=DT_INT64; f32 1 => i64{0}[]"],
    },
    Op {
        name: "ShapeN",
        ins: &["input: N * T"],
        outs: &["output: N * out_type"],
        attrs: &["N: int >= 1", "T: type", OUT_TYPE],
        shape: |ctx| (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, Shape::vector(ctx.input(i).rank()))),
        kernel: Kernel::Pure(shape_kernel),
        grad: Grad::None("integers"),
        rows: &["N=2; f32[[1 2 3]], f32 1 => i32[1 3], i32{0}[]"],
    },
    Op {
        name: "Size",
        ins: &["input: T"],
        outs: &["output: out_type"],
        attrs: &["T: type", OUT_TYPE],
        shape: shape::scalar,
        kernel: Kernel::Pure(size_kernel),
        grad: Grad::None("integers"),
        rows: &["f32[[1 2 3]] => i32 3", "str{0,2}[] => i32 0"],
    },
    Op {
        name: "Rank",
        ins: &["input: T"],
        outs: &["output: int32"],
        attrs: &["T: type"],
        shape: shape::scalar,
        kernel: Kernel::Pure(|ctx| {
            let rank = ctx.input(0)?.rank() as i32;
            ctx.set(0, Tensor::scalar(rank))
        }),
        grad: Grad::None("integers"),
        rows: &["f32[[1 2 3]] => i32 2"],
    },
    Op {
        name: "Reshape",
        ins: &["tensor: T", "shape: Tshape"],
        outs: &["output: T"],
        attrs: &["T: type", "Tshape: {int32, int64} = DT_INT32"],
        shape: reshape_shape,
        kernel: Kernel::Pure(reshape_kernel),
        grad: Grad::Fn(|g, op, grads| Ok(vec![Some(reshape_to_input(g, op, grads)?), None])),
        rows: &[
            "f32[[1 2] [3 4]], i32[4] => f32[1 2 3 4]",
            "f32[1 2 3 4], i32[-1 1 2] => f32[[[1 2]] [[3 4]]]",
            "f32[1], i32{0}[] => f32 1",
            "f32{0,3}[], i32[3 -1] => f32{3,0}[]",
        ],
    },
    Op {
        name: "ExpandDims",
        ins: &["input: T", "dim: Tdim"],
        outs: &["output: T"],
        attrs: &["T: type", "Tdim: {int32, int64} = DT_INT32"],
        shape: expand_dims_shape,
        kernel: Kernel::Pure(expand_dims_kernel),
        grad: Grad::Fn(|g, op, grads| Ok(vec![Some(reshape_to_input(g, op, grads)?), None])),
        rows: &["f32[1 2], i32 -1 => f32[[1] [2]]", "f32 1, i32 0 => f32[1]"],
    },
    Op {
        name: "Squeeze",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type", "squeeze_dims: list(int) >= 0 = []"],
        shape: squeeze_shape,
        kernel: Kernel::Pure(squeeze_kernel),
        grad: Grad::Fn(|g, op, grads| Ok(vec![Some(reshape_to_input(g, op, grads)?)])),
        rows: &["f32[[[1] [2]]] => f32[1 2]", "squeeze_dims=[-1]; f32[[[1] [2]]] => f32[[1 2]]"],
    },
];

/// Integers as a tensor of int32 or int64.
///
/// # Errors
/// `InvalidArgument` where one is too large for int32.
pub(super) fn index_tensor(dtype: DType, dims: &[usize], values: impl IntoIterator<Item = usize>) -> Result<Tensor> {
    let too_large = |v: usize| Error::invalid_argument(format!("{v} is too large for the output type int32"));
    match dtype {
        DType::Int32 => {
            let narrow = values.into_iter().map(|v| i32::try_from(v).map_err(|_| too_large(v)));
            Tensor::new(dims, narrow.collect::<Result<Vec<i32>>>()?)
        }
        _ => Tensor::new(dims, values.into_iter().map(|v| v as i64).collect()),
    }
}

fn shape_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let out_type = ctx.node().output_types[0];
    for i in 0..ctx.num_inputs() {
        let input = ctx.input(i)?;
        let shape = index_tensor(out_type, &[input.rank()], input.dims().iter().copied())?;
        ctx.set(i, shape)?;
    }
    Ok(())
}

fn size_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let size = index_tensor(ctx.node().output_types[0], &[], [ctx.input(0)?.len()])?;
    ctx.set(0, size)
}

fn reshape_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let target = ctx.constant_shape(1);
    let Some(wanted) = target.signed() else {
        let rank = ctx.input(1).dim(0);
        return ctx.set(0, rank.map_or(Shape::unknown(), Shape::of_rank));
    };
    let Some(have) = input.signed() else { return ctx.set(0, target) };
    let (Some((in_known, in_unknown)), Some((known, unknown))) = (known_product(have), known_product(wanted)) else {
        bail!(InvalidArgument, "Shape {target} has too many elements")
    };
    let divisible = |by: i64, n: i64| -> Result<()> {
        if n % by != 0 {
            bail!(
                InvalidArgument,
                "Dimension size must be evenly divisible by {by} but is {n}, for input shape {input} and requested {target}"
            );
        }
        Ok(())
    };
    match (in_unknown, unknown) {
        (0, 0) if in_known != known => bail!(
            InvalidArgument,
            "Cannot reshape a tensor with {in_known} elements to shape {target} ({known} elements): input shape {input}"
        ),
        (0, 1) if known > 0 => {
            divisible(known, in_known)?;
            let filled = wanted.iter().map(|&d| if d < 0 { in_known / known } else { d });
            return ctx.set(0, Shape::from_signed(filled));
        }
        (1, 0) if in_known > 0 => divisible(in_known, known)?,
        _ => {}
    }
    ctx.set(0, target)
}

/// The product of the known sizes and the number of unknown ones; none where it overflows.
fn known_product(dims: &[i64]) -> Option<(i64, usize)> {
    let product = dims.iter().filter(|&&d| d >= 0).try_fold(1i64, |n, &d| n.checked_mul(d))?;
    Some((product, dims.iter().filter(|&&d| d < 0).count()))
}

/// The dimensions that a requested shape, of which one size may be -1, has for this many elements.
///
/// # Errors
/// `InvalidArgument` where the request fits no such tensor.
pub(super) fn resolve_reshape(input: &Tensor, requested: &Tensor) -> Result<Dims> {
    if requested.rank() != 1 {
        bail!(InvalidArgument, "sizes input must be 1-D, not {:?}", requested.dims());
    }
    let sizes = requested.to_i64s()?;
    let (mut dims, mut unknown, mut product) = (Dims::new(), None, 1usize);
    for (i, &size) in sizes.iter().enumerate() {
        if size == -1 {
            if let Some(first) = unknown.replace(i) {
                bail!(InvalidArgument, "Only one input size may be -1, not both {first} and {i}");
            }
            dims.push(1);
            continue;
        }
        let Ok(size) = usize::try_from(size) else { bail!(InvalidArgument, "Size {i} must be non-negative, not {size}") };
        let Some(next) = product.checked_mul(size) else {
            bail!(InvalidArgument, "The requested shape {requested} has too many elements")
        };
        product = next;
        dims.push(size);
    }
    if let Some(index) = unknown {
        if product == 0 {
            bail!(
                InvalidArgument,
                "reshape cannot infer the missing input size for an empty tensor unless all specified input sizes are non-zero"
            );
        }
        let missing = input.len() / product;
        if product * missing != input.len() {
            bail!(
                InvalidArgument,
                "Input to reshape is a tensor with {} values, but the requested shape requires a multiple of {product}",
                input.len()
            );
        }
        dims[index] = missing;
        product *= missing;
    }
    if product != input.len() {
        bail!(InvalidArgument, "Input to reshape is a tensor with {} values, but the requested shape has {product}", input.len());
    }
    Ok(dims)
}

fn reshape_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let dims = resolve_reshape(ctx.input(0)?, ctx.input(1)?)?;
    let output = ctx.take(0)?.reshaped(&dims)?;
    ctx.set(0, output)
}

fn expand_dims_shape(ctx: &mut InferCtx) -> Result<()> {
    let dim = ctx.input(1);
    if dim.num_elements().is_some_and(|n| n != 1) || dim.rank().is_some_and(|r| r > 1) {
        bail!(InvalidArgument, "'dim' input must be a tensor with a single value, got shape {dim}");
    }
    let input = ctx.input(0);
    let Some(value) = ctx.constant(1) else {
        return ctx.set(0, input.rank().map_or(Shape::unknown(), |r| Shape::of_rank(r + 1)));
    };
    let Some(rank) = input.rank() else { return ctx.set(0, Shape::unknown()) };
    let axis = expanded_axis(value.item_i64()?, rank)? as isize;
    ctx.set(0, input.slice(0, axis).push(Some(1)).concatenate(&input.slice_from(axis)))
}

fn expanded_axis(dim: i64, rank: usize) -> Result<usize> {
    let limit = rank as i64;
    if !(-limit - 1..=limit).contains(&dim) {
        bail!(InvalidArgument, "Tried to expand dim index {dim} for tensor with {rank} dimensions.");
    }
    Ok((if dim < 0 { dim + limit + 1 } else { dim }) as usize)
}

fn expand_dims_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let dim = ctx.input(1)?;
    if dim.len() != 1 {
        bail!(InvalidArgument, "'dim' must be a tensor with a single value, got shape {:?}", dim.dims());
    }
    let axis = expanded_axis(dim.item_i64()?, ctx.input(0)?.rank())?;
    let input = ctx.take(0)?;
    let mut dims = Dims::from_slice(input.dims());
    dims.insert(axis, 1);
    ctx.set(0, input.reshaped(&dims)?)
}

fn squeeze_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let squeeze = ctx.ints("squeeze_dims")?;
    let Some(dims) = input.signed() else { return ctx.set(0, Shape::unknown()) };
    if squeeze.is_empty() && dims.contains(&-1) {
        return ctx.set(0, Shape::unknown());
    }
    let drop = squeezed_axes(&squeeze, dims.len())?;
    let mut kept = Vec::new();
    for (i, &dim) in dims.iter().enumerate() {
        match drop.get(i) {
            Some(true) if dim > 1 || dim == 0 => {
                bail!(InvalidArgument, "Can not squeeze dim[{i}], expected a dimension of 1, got {dim}")
            }
            Some(true) => {}
            None if dim == 1 => {}
            _ => kept.push(dim),
        }
    }
    ctx.set(0, Shape::from_signed(kept))
}

/// Which dimensions are to be dropped; an empty list where all of size 1 are.
fn squeezed_axes(squeeze: &[i64], rank: usize) -> Result<Vec<bool>> {
    if squeeze.is_empty() {
        return Ok(Vec::new());
    }
    let mut drop = vec![false; rank];
    for &axis in squeeze {
        let limit = rank as i64;
        if !(-limit..limit).contains(&axis) {
            bail!(InvalidArgument, "Tried to squeeze dim index {axis} for tensor with {rank} dimensions.");
        }
        drop[axis.rem_euclid(limit) as usize] = true;
    }
    Ok(drop)
}

fn squeeze_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let drop = squeezed_axes(ctx.node().ints("squeeze_dims")?, input.rank())?;
    let mut kept = Dims::new();
    for (i, &dim) in input.dims().iter().enumerate() {
        match drop.get(i) {
            Some(true) if dim != 1 => {
                bail!(InvalidArgument, "Can not squeeze dim[{i}], expected a dimension of 1, got {dim}")
            }
            Some(true) => {}
            None if dim == 1 => {}
            _ => kept.push(dim),
        }
    }
    let output = ctx.take(0)?.reshaped(&kept)?;
    ctx.set(0, output)
}

/// The gradient of the output in the shape of the first input.
fn reshape_to_input(g: &Graph, op: Operation, grads: &Grads) -> Result<Gradient> {
    let grad = grads.dense(g, 0)?;
    let shape = g.shape_tensor(g.input(op, 0)?)?;
    Ok(g.reshape(grad, shape)?.into())
}

impl Graph {
    /// A tensor's shape as an int32 vector (`tf.shape`): a constant where the static shape is fully known.
    ///
    /// # Errors
    /// `InvalidArgument` where the graph's shapes contradict each other.
    pub fn shape_tensor(&self, input: Output) -> Result<Output> {
        self.shape_tensor_as(input, DType::Int32)
    }

    /// A tensor's shape as a vector of int32 or int64.
    ///
    /// # Errors
    /// `InvalidArgument` for another `out_type`.
    pub fn shape_tensor_as(&self, input: Output, out_type: DType) -> Result<Output> {
        self.shape_internal(input, Some(out_type), true)
    }

    /// `array_ops.shape_internal`: without an `out_type` the constant is named by Python's conversion of shapes.
    pub(crate) fn shape_internal(&self, input: Output, out_type: Option<DType>, optimize: bool) -> Result<Output> {
        let (g, scope) = self.enter("Shape")?;
        if optimize && let Some(dims) = g.shape(input)?.to_dims() {
            return match out_type {
                None => g.shape_as_tensor(&dims),
                Some(dtype) => g.named(scope.name()).constant(index_tensor(dtype, &[dims.len()], dims.iter().copied())?),
            };
        }
        let out_type = out_type.unwrap_or(DType::Int32);
        g.op("Shape").name(scope.name()).input(input).attr("out_type", out_type).output()
    }

    /// Dimensions as the constant that Python's conversion of a shape makes: int32, or int64 where one is larger.
    pub(crate) fn shape_as_tensor(&self, dims: &[usize]) -> Result<Output> {
        let large = dims.iter().any(|&d| i32::try_from(d).is_err());
        let dtype = if large { DType::Int64 } else { DType::Int32 };
        let value = index_tensor(dtype, &[dims.len()], dims.iter().copied())?;
        self.named(self.name_or("shape_as_tensor")).constant(value)
    }

    /// The shapes of tensors of one dtype, from one node (`tf.shape_n`).
    ///
    /// # Errors
    /// `InvalidArgument` without inputs or for different dtypes.
    pub fn shape_n(&self, inputs: &[Output], out_type: DType) -> Result<Vec<Output>> {
        self.op("ShapeN").input_list(inputs).attr("out_type", out_type).outputs()
    }

    /// The number of a tensor's elements, as int32 (`tf.size`): a constant where it is static.
    ///
    /// # Errors
    /// `InvalidArgument` where the graph's shapes contradict each other.
    pub fn size(&self, input: Output) -> Result<Output> {
        self.size_as(input, DType::Int32)
    }

    /// The number of a tensor's elements, as int32 or int64.
    ///
    /// # Errors
    /// `InvalidArgument` for another `out_type`.
    pub fn size_as(&self, input: Output, out_type: DType) -> Result<Output> {
        let (g, scope) = self.enter("Size")?;
        let shape = g.shape(input)?;
        let empty = shape.signed().is_some_and(|dims| dims.contains(&0));
        if let Some(count) = shape.num_elements().or(empty.then_some(0)) {
            return g.named(scope.name()).constant(index_tensor(out_type, &[], [count])?);
        }
        g.op("Size").name(scope.name()).input(input).attr("out_type", out_type).output()
    }

    /// The number of a tensor's dimensions, as int32 (`tf.rank`): a constant where it is static.
    ///
    /// # Errors
    /// `InvalidArgument` where the graph's shapes contradict each other.
    pub fn rank(&self, input: Output) -> Result<Output> {
        let (g, scope) = self.enter("Rank")?;
        match g.shape(input)?.rank() {
            Some(rank) => g.named(scope.name()).constant(rank as i32),
            None => g.op("Rank").name(scope.name()).input(input).output(),
        }
    }

    /// The same elements in another shape, of which one size may be -1 (`tf.reshape`).
    ///
    /// # Errors
    /// `InvalidArgument` where the sizes don't fit.
    pub fn reshape(&self, tensor: Output, shape: impl Into<Arg>) -> Result<Output> {
        self.call("Reshape").arg(tensor).arg(shape).output()
    }

    /// A dimension of size 1 before position `axis` (`tf.expand_dims`); -1 appends one.
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn expand_dims(&self, input: Output, axis: impl Into<Arg>) -> Result<Output> {
        self.call("ExpandDims").arg(input).arg(axis).output()
    }

    /// Without the given dimensions of size 1, or without all of them where none is given (`tf.squeeze`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dimension of another size or out of range.
    pub fn squeeze(&self, input: Output, axis: &[i64]) -> Result<Output> {
        self.op("Squeeze").input(input).attr("squeeze_dims", axis).output()
    }
}
