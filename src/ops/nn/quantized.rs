//! Arithmetic on quantized numbers: whole numbers of 8 or 32 bits that stand for a range of floats.

use super::window::{Axis, Layout, Padding, check_length, static_output_size};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, KernelFn, Op, ShapeFn};
use crate::tensor::{DType, Dims, Shape, Tensor};

const Q: &str = "{qint8, quint8, qint32, qint16, quint16}";
const T1: &str = "T1: {qint8, quint8, qint32, qint16, quint16}";
const T2: &str = "T2: {qint8, quint8, qint32, qint16, quint16}";
const T: &str = "T: {qint8, quint8, qint32, qint16, quint16}";
const TINPUT: &str = "Tinput: {qint8, quint8, qint32, qint16, quint16}";
const OUT_TYPE: &str = "out_type: {qint8, quint8, qint32, qint16, quint16}";
const BYTES: &str = "out_type: {qint8, quint8, qint32, qint16, quint16} = DT_QUINT8";
const WORDS: &str = "Toutput: {qint8, quint8, qint32, qint16, quint16} = DT_QINT32";
const PADDING: &str = "padding: {'SAME', 'VALID'}";

const fn op(
    name: &'static str,
    ins: &'static [&'static str],
    outs: &'static [&'static str],
    attrs: &'static [&'static str],
    shape: ShapeFn,
    kernel: KernelFn,
    rows: &'static [&'static str],
) -> Op {
    Op { name, ins, outs, attrs, shape, kernel: Kernel::Pure(kernel), grad: Grad::Missing, rows }
}

pub(super) static OPS: &[Op] = &[
    op(
        "QuantizedMatMul",
        &["a: T1", "b: T2", "min_a: float", "max_a: float", "min_b: float", "max_b: float"],
        &["out: Toutput", "min_out: float", "max_out: float"],
        &[
            T1,
            T2,
            WORDS,
            "transpose_a: bool = false",
            "transpose_b: bool = false",
            "Tactivation: {qint8, quint8, qint32, qint16, quint16} = DT_QUINT8",
        ],
        matmul_shape,
        matmul,
        &["qu8[[1 2]], qu8[[3] [4]], f32 0, f32 255, f32 0, f32 255 => qi32[[11]], _, _"],
    ),
    op(
        "QuantizedConv2D",
        &["input: Tinput", "filter: Tfilter", "min_input: float", "max_input: float", "min_filter: float", "max_filter: float"],
        &["output: out_type", "min_output: float", "max_output: float"],
        &[
            TINPUT,
            "Tfilter: {qint8, quint8, qint32, qint16, quint16}",
            "out_type: {qint8, quint8, qint32, qint16, quint16} = DT_QINT32",
            "strides: list(int)",
            PADDING,
            "dilations: list(int) = [1, 1, 1, 1]",
        ],
        conv_shape,
        conv,
        &["strides=[1, 1, 1, 1], padding='VALID'; qu8[[[[1] [2]]]], qu8[[[[3]]]], f32 0, f32 255, f32 0, f32 255 \
             => qi32[[[[3] [6]]]], _, _"],
    ),
    op(
        "QuantizedMaxPool",
        &["input: T", "min_input: float", "max_input: float"],
        &["output: T", "min_output: float", "max_output: float"],
        &[T, "ksize: list(int)", "strides: list(int)", PADDING],
        pool_shape,
        max_pool,
        &[
            "ksize=[1, 1, 2, 1], strides=[1, 1, 2, 1], padding='VALID'; qu8[[[[1] [2]]]], f32 0, f32 1 => qu8[[[[2]]]], f32 0, f32 1",
        ],
    ),
    op(
        "QuantizedAvgPool",
        &["input: T", "min_input: float", "max_input: float"],
        &["output: T", "min_output: float", "max_output: float"],
        &[T, "ksize: list(int)", "strides: list(int)", PADDING],
        pool_shape,
        average_pool,
        &[
            "ksize=[1, 1, 2, 1], strides=[1, 1, 2, 1], padding='VALID'; qu8[[[[1] [4]]]], f32 0, f32 1 => qu8[[[[2]]]], f32 0, f32 1",
        ],
    ),
    op(
        "QuantizedRelu",
        &["features: Tinput", "min_features: float", "max_features: float"],
        &["activations: out_type", "min_activations: float", "max_activations: float"],
        &[TINPUT, BYTES],
        same_shape,
        |ctx| relu(ctx, None),
        &["qu8[0 100 200], f32 -127.5, f32 127.5 => qu8[128 128 200], f32 -127.5, f32 127.5"],
    ),
    op(
        "QuantizedRelu6",
        &["features: Tinput", "min_features: float", "max_features: float"],
        &["activations: out_type", "min_activations: float", "max_activations: float"],
        &[TINPUT, BYTES],
        same_shape,
        |ctx| relu(ctx, Some(6.0)),
        &["qu8[0 6 200], f32 0, f32 255 => qu8[0 6 6], f32 0, f32 255"],
    ),
    op(
        "QuantizedAdd",
        &["x: T1", "y: T2", "min_x: float", "max_x: float", "min_y: float", "max_y: float"],
        &["z: Toutput", "min_z: float", "max_z: float"],
        &[T1, T2, WORDS],
        broadcast_shape,
        add,
        &["qu8[0], qu8[0], f32 0, f32 1, f32 0, f32 1 => qi32[0], f32 -16384, f32 16384"],
    ),
    op(
        "QuantizedMul",
        &["x: T1", "y: T2", "min_x: float", "max_x: float", "min_y: float", "max_y: float"],
        &["z: Toutput", "min_z: float", "max_z: float"],
        &[T1, T2, WORDS],
        broadcast_shape,
        multiply,
        &["qu8[3 5], qu8[2 4], f32 0, f32 255, f32 0, f32 255 => qi32[6 20], _, _"],
    ),
    op(
        "QuantizedBiasAdd",
        &["input: T1", "bias: T2", "min_input: float", "max_input: float", "min_bias: float", "max_bias: float"],
        &["output: out_type", "min_out: float", "max_out: float"],
        &[T1, T2, OUT_TYPE],
        same_shape,
        bias_add,
        &["out_type=DT_QINT32; qu8[[0]], qu8[0], f32 0, f32 1, f32 0, f32 1 => qi32[[0]], f32 -131072, f32 131072"],
    ),
    op(
        "QuantizeDownAndShrinkRange",
        &["input: Tinput", "input_min: float", "input_max: float"],
        &["output: out_type", "output_min: float", "output_max: float"],
        &[TINPUT, OUT_TYPE],
        same_shape,
        shrink,
        &["out_type=DT_QUINT8; qi32[0 1073741824 2147483647], f32 -1, f32 1 => qu8[0 128 255], f32 0, f32 1"],
    ),
    op(
        "RequantizationRange",
        &["input: Tinput", "input_min: float", "input_max: float"],
        &["output_min: float", "output_max: float"],
        &[TINPUT],
        crate::ops::shape::scalar,
        range,
        &["qi32[0 1073741824 2147483647], f32 -1, f32 1 => f32 0, f32 1"],
    ),
    op(
        "Requantize",
        &["input: Tinput", "input_min: float", "input_max: float", "requested_output_min: float", "requested_output_max: float"],
        &["output: out_type", "output_min: float", "output_max: float"],
        &[TINPUT, OUT_TYPE],
        same_shape,
        requantize,
        &["out_type=DT_QUINT8; qi32[0 1073741824 2147483647], f32 -1, f32 1, f32 0, f32 1 => qu8[0 128 255], f32 0, f32 1"],
    ),
    op(
        "QuantizedReshape",
        &["tensor: T", "shape: Tshape", "input_min: float", "input_max: float"],
        &["output: T", "output_min: float", "output_max: float"],
        &["T: type", "Tshape: {int32, int64} = DT_INT32"],
        |ctx| {
            ctx.set(0, ctx.constant_shape(1))?;
            scalars(ctx)
        },
        reshape,
        &["qu8[1 2], i32[2 1], f32 0, f32 1 => qu8[[1] [2]], f32 0, f32 1"],
    ),
];

fn scalars(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(1, Shape::scalar())?;
    ctx.set(2, Shape::scalar())
}

fn same_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(0))?;
    scalars(ctx)
}

fn broadcast_shape(ctx: &mut InferCtx) -> Result<()> {
    crate::ops::shape::broadcast(ctx)?;
    scalars(ctx)
}

fn matmul_shape(ctx: &mut InferCtx) -> Result<()> {
    let (a, b) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    let (a_turned, b_turned) = (isize::from(ctx.boolean("transpose_a")?), isize::from(ctx.boolean("transpose_b")?));
    if let (Some(p), Some(q)) = (a.dim(1 - a_turned), b.dim(b_turned))
        && p != q
    {
        bail!(InvalidArgument, "Dimensions must be equal, but are {p} and {q}");
    }
    ctx.set(0, Shape::matrix(a.dim(a_turned), b.dim(1 - b_turned)))?;
    scalars(ctx)
}

const LAYOUT: Layout = Layout { channels_first: false, spatial: 2 };

fn windows(ctx: &InferCtx, input: &Shape, sizes: [Option<usize>; 2]) -> Result<[Option<usize>; 2]> {
    let padding = Padding::new(&ctx.string("padding")?, &[], LAYOUT)?;
    let strides = ctx.ints("strides")?;
    check_length("a quantized op", "strides", &strides, 4)?;
    let mut out = [None; 2];
    for (i, out) in out.iter_mut().enumerate() {
        *out = static_output_size(input.dim(i as isize + 1), sizes[i], strides[i + 1], 1, &padding, i + 1)?;
    }
    Ok(out)
}

fn conv_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, filter) = (ctx.input(0).with_rank(4)?, ctx.input(1).with_rank(4)?);
    let [rows, columns] = windows(ctx, &input, [filter.dim(0), filter.dim(1)])?;
    let shape = Shape::of_rank(4).with_dim(0, input.dim(0)).with_dim(1, rows).with_dim(2, columns);
    ctx.set(0, shape.with_dim(3, filter.dim(3)))?;
    scalars(ctx)
}

fn pool_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank(4)?;
    let size = ctx.ints("ksize")?;
    check_length("a quantized op", "ksize", &size, 4)?;
    let [rows, columns] = windows(ctx, &input, [usize::try_from(size[1]).ok(), usize::try_from(size[2]).ok()])?;
    ctx.set(0, input.with_dim(1, rows).with_dim(2, columns))?;
    scalars(ctx)
}

/// A type of quantized numbers and the floats that its ends stand for.
#[derive(Clone, Copy)]
struct Scale {
    lowest: i64,
    highest: i64,
    steps: f64,
    min: f32,
    max: f32,
}

impl Scale {
    fn new(dtype: DType, min: f32, max: f32) -> Result<Scale> {
        let (lowest, highest) = match dtype {
            DType::Qint8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
            DType::Quint8 => (0, i64::from(u8::MAX)),
            DType::Qint16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            DType::Quint16 => (0, i64::from(u16::MAX)),
            DType::Qint32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            other => bail!(InvalidArgument, "{other} isn't one of {Q}"),
        };
        Ok(Scale { lowest, highest, steps: (highest - lowest + 1) as f64, min, max })
    }

    /// The scale of an input whose limits are at `at` and `at + 1`.
    fn input(ctx: &KernelCtx, input: usize, at: usize) -> Result<Scale> {
        let mut ends = [0.0; 2];
        for (i, end) in ends.iter_mut().enumerate() {
            let tensor = ctx.input(at + i)?;
            if tensor.len() != 1 {
                bail!(InvalidArgument, "min and max must be scalars, got shape {}", tensor.shape());
            }
            *end = tensor.item::<f32>()?;
        }
        Scale::new(ctx.input(input)?.dtype(), ends[0], ends[1])
    }

    /// The number that a float stands for, which may be beyond the type.
    fn number(&self, value: f32) -> i64 {
        if self.min == self.max {
            return self.lowest;
        }
        let range = f64::from(self.max - self.min) * (self.steps / (self.steps - 1.0));
        let scale = self.steps / range;
        let number = (f64::from(value) * scale).round() - (f64::from(self.min) * scale).round();
        (number + self.lowest as f64) as i64
    }

    fn clamped(&self, value: f32) -> i64 {
        self.number(value).clamp(self.lowest, self.highest)
    }

    fn value(&self, number: i64) -> f32 {
        if self.min == self.max {
            return self.min;
        }
        let range = f64::from(self.max - self.min) * (self.steps / (self.steps - 1.0));
        let scale = range / self.steps;
        let single = f64::from(scale as f32);
        let least = (f64::from(self.min) / single).round() * single;
        (least + (number - self.lowest) as f64 * scale) as f32
    }

    /// What one step is worth.
    fn one(&self) -> f32 {
        (self.max - self.min) / (self.highest - self.lowest) as f32
    }
}

/// The range of 32-bit numbers that are sums of products.
fn product_range(a: Scale, b: Scale) -> (f32, f32) {
    let one = a.one() * b.one();
    (one * i32::MIN as f32, one * i32::MAX as f32)
}

fn numbers(tensor: &Tensor) -> Result<Vec<i64>> {
    Ok(match tensor.dtype() {
        DType::Qint8 => tensor.as_slice::<i8>()?.iter().map(|&v| v.into()).collect(),
        DType::Quint8 => tensor.as_slice::<u8>()?.iter().map(|&v| v.into()).collect(),
        DType::Qint16 => tensor.as_slice::<i16>()?.iter().map(|&v| v.into()).collect(),
        DType::Quint16 => tensor.as_slice::<u16>()?.iter().map(|&v| v.into()).collect(),
        DType::Qint32 => tensor.as_slice::<i32>()?.iter().map(|&v| v.into()).collect(),
        other => bail!(InvalidArgument, "{other} isn't one of {Q}"),
    })
}

/// Sets the result and its range.
fn set(ctx: &mut KernelCtx, dims: &[usize], values: &[i64], (min, max): (f32, f32)) -> Result<()> {
    let dtype = ctx.node().output_types[0];
    let output = match dtype {
        DType::Qint8 => Tensor::new(dims, values.iter().map(|&v| v as i8).collect())?,
        DType::Quint8 => Tensor::new(dims, values.iter().map(|&v| v as u8).collect())?,
        DType::Qint16 => Tensor::new(dims, values.iter().map(|&v| v as i16).collect())?,
        DType::Quint16 => Tensor::new(dims, values.iter().map(|&v| v as u16).collect())?,
        DType::Qint32 => Tensor::new(dims, values.iter().map(|&v| v as i32).collect())?,
        other => bail!(InvalidArgument, "{other} isn't one of {Q}"),
    };
    ctx.set(0, output.with_dtype(dtype))?;
    ctx.set(1, Tensor::scalar(min))?;
    ctx.set(2, Tensor::scalar(max))
}

/// The numbers of an input, less the one that stands for zero.
fn centred(ctx: &KernelCtx, input: usize, scale: Scale) -> Result<Vec<i64>> {
    let zero = scale.number(0.0);
    Ok(numbers(ctx.input(input)?)?.into_iter().map(|v| v - zero).collect())
}

fn matmul(ctx: &mut KernelCtx) -> Result<()> {
    let (&[a0, a1], &[b0, b1]) = (ctx.input(0)?.dims(), ctx.input(1)?.dims()) else {
        bail!(InvalidArgument, "In[0] and In[1] must be matrices, got {} and {}", ctx.input(0)?.shape(), ctx.input(1)?.shape())
    };
    let (turned_a, turned_b) = (ctx.node().boolean("transpose_a")?, ctx.node().boolean("transpose_b")?);
    let (rows, inner) = if turned_a { (a1, a0) } else { (a0, a1) };
    let (other, columns) = if turned_b { (b1, b0) } else { (b0, b1) };
    if inner != other {
        bail!(InvalidArgument, "Matrix size-incompatible: In[0]: [{a0},{a1}], In[1]: [{b0},{b1}]");
    }
    let (x, y) = (Scale::input(ctx, 0, 2)?, Scale::input(ctx, 1, 4)?);
    let (a, b) = (centred(ctx, 0, x)?, centred(ctx, 1, y)?);
    let mut out = vec![0i64; rows * columns];
    for row in 0..rows {
        for k in 0..inner {
            let left = a[if turned_a { k * rows + row } else { row * inner + k }];
            for (column, sum) in out[row * columns..(row + 1) * columns].iter_mut().enumerate() {
                *sum += left * b[if turned_b { column * inner + k } else { k * columns + column }];
            }
        }
    }
    set(ctx, &[rows, columns], &out, product_range(x, y))
}

fn conv(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (strides, dilations) = (node.ints("strides")?, node.ints("dilations")?);
    check_length(node.op, "strides", strides, 4)?;
    if dilations.iter().any(|&d| d != 1) {
        bail!(InvalidArgument, "QuantizedConv2D supports dilations of 1 alone, got {dilations:?}");
    }
    if strides[0] != 1 || strides[3] != 1 || strides[1] != strides[2] || strides[1] < 1 {
        bail!(InvalidArgument, "strides must be [1, s, s, 1], got {strides:?}");
    }
    let stride = strides[1] as usize;
    let padding = Padding::new(node.string("padding")?, &[], LAYOUT)?;
    let (&[batch, height, width, depth], &[window_rows, window_columns, inner, outputs]) =
        (ctx.input(0)?.dims(), ctx.input(1)?.dims())
    else {
        bail!(
            InvalidArgument,
            "input and filter must be 4-dimensional, got {} and {}",
            ctx.input(0)?.shape(),
            ctx.input(1)?.shape()
        )
    };
    if depth != inner {
        bail!(InvalidArgument, "input and filter must have the same depth: {depth} vs {inner}");
    }
    let (x, y) = (Scale::input(ctx, 0, 2)?, Scale::input(ctx, 1, 4)?);
    let (input, filter) = (centred(ctx, 0, x)?, centred(ctx, 1, y)?);
    let rows = Axis::new(height, window_rows, stride, 1, &padding, 1)?;
    let columns = Axis::new(width, window_columns, stride, 1, &padding, 2)?;
    let dims = [batch, rows.output, columns.output, outputs];
    let mut out = vec![0i64; dims.iter().product()];
    for (at, sums) in out.chunks_mut(outputs.max(1)).enumerate() {
        let (rest, column) = (at / columns.output, at % columns.output);
        let (image, row) = (rest / rows.output, rest % rows.output);
        for (i, j) in (0..window_rows).flat_map(|i| (0..window_columns).map(move |j| (i, j))) {
            let (Some(r), Some(c)) = (rows.position(row, i), columns.position(column, j)) else { continue };
            let from = &input[((image * height + r) * width + c) * depth..][..depth];
            for (k, &value) in from.iter().enumerate() {
                let weights = &filter[((i * window_columns + j) * depth + k) * outputs..][..outputs];
                sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += value * w);
            }
        }
    }
    set(ctx, &dims, &out, product_range(x, y))
}

/// Pools windows of each channel: `reduce` gets the numbers of a window.
fn pool(ctx: &mut KernelCtx, reduce: impl Fn(&[i64]) -> i64) -> Result<()> {
    let node = ctx.node();
    let (size, strides) = (node.ints("ksize")?, node.ints("strides")?);
    check_length(node.op, "ksize", size, 4)?;
    check_length(node.op, "strides", strides, 4)?;
    if size.iter().chain(strides).any(|&v| v < 1 || v > i64::from(i32::MAX)) || size[0] != 1 || size[3] != 1 {
        bail!(InvalidArgument, "{}: windows over height and width alone are supported, got {size:?}, {strides:?}", node.op);
    }
    let padding = Padding::new(node.string("padding")?, &[], LAYOUT)?;
    let &[batch, height, width, depth] = ctx.input(0)?.dims() else {
        bail!(InvalidArgument, "tensor_in must be 4-dimensional, got {}", ctx.input(0)?.shape())
    };
    let scale = Scale::input(ctx, 0, 1)?;
    let input = numbers(ctx.input(0)?)?;
    let rows = Axis::new(height, size[1] as usize, strides[1] as usize, 1, &padding, 1)?;
    let columns = Axis::new(width, size[2] as usize, strides[2] as usize, 1, &padding, 2)?;
    let dims = [batch, rows.output, columns.output, depth];
    let mut out = Vec::with_capacity(dims.iter().product());
    let mut window = Vec::new();
    for image in 0..batch {
        for (row, column) in (0..rows.output).flat_map(|r| (0..columns.output).map(move |c| (r, c))) {
            for channel in 0..depth {
                window.clear();
                for r in rows.range(row) {
                    window.extend(columns.range(column).map(|c| input[((image * height + r) * width + c) * depth + channel]));
                }
                out.push(reduce(&window));
            }
        }
    }
    set(ctx, &dims, &out, (scale.min, scale.max))
}

fn max_pool(ctx: &mut KernelCtx) -> Result<()> {
    pool(ctx, |window| window.iter().max().copied().unwrap_or(0))
}

fn average_pool(ctx: &mut KernelCtx) -> Result<()> {
    pool(ctx, |window| window.iter().sum::<i64>() / window.len().max(1) as i64)
}

fn relu(ctx: &mut KernelCtx, limit: Option<f32>) -> Result<()> {
    let scale = Scale::input(ctx, 0, 1)?;
    let zero = scale.clamped(0.0);
    let most = limit.map_or(scale.highest, |limit| scale.clamped(limit));
    let dims = Dims::from_slice(ctx.input(0)?.dims());
    let values: Vec<i64> = numbers(ctx.input(0)?)?.into_iter().map(|v| v.min(most).max(zero)).collect();
    set(ctx, &dims, &values, (scale.min, scale.max))
}

/// Applies a function to the elements of two inputs that broadcast.
fn pairs(ctx: &KernelCtx, x: &[i64], y: &[i64], each: impl Fn(i64, i64) -> i64) -> Result<(Dims, Vec<i64>)> {
    let (a, b) = (ctx.input(0)?.shape(), ctx.input(1)?.shape());
    let shape = crate::ops::shape::broadcast_shapes(&a, &b)?;
    let Some(dims) = shape.to_dims() else { bail!(Internal, "a tensor's shape is known") };
    let strides = |own: &[usize]| {
        let mut strides = vec![0usize; dims.len()];
        let mut stride = 1;
        for (i, &d) in own.iter().enumerate().rev() {
            strides[dims.len() - own.len() + i] = if d == 1 { 0 } else { stride };
            stride *= d;
        }
        strides
    };
    let (p, q) = (strides(ctx.input(0)?.dims()), strides(ctx.input(1)?.dims()));
    let total: usize = dims.iter().product();
    let mut out = Vec::with_capacity(total);
    for at in 0..total {
        let (mut rest, mut i, mut j) = (at, 0, 0);
        for d in (0..dims.len()).rev() {
            i += rest % dims[d] * p[d];
            j += rest % dims[d] * q[d];
            rest /= dims[d];
        }
        out.push(each(x[i], y[j]));
    }
    Ok((dims, out))
}

/// The sum of both inputs, in the range `-limit..limit` of 32-bit numbers.
fn sum(ctx: &mut KernelCtx, x: Scale, y: Scale, limit: f32) -> Result<()> {
    let out = Scale::new(DType::Qint32, -limit, limit)?;
    let rescale = |scale: Scale, values: Vec<i64>| values.into_iter().map(|v| out.clamped(scale.value(v))).collect();
    let (a, b): (Vec<i64>, Vec<i64>) = (rescale(x, numbers(ctx.input(0)?)?), rescale(y, numbers(ctx.input(1)?)?));
    let (dims, values) = pairs(ctx, &a, &b, |a, b| a + b)?;
    set(ctx, &dims, &values, (-limit, limit))
}

fn add(ctx: &mut KernelCtx) -> Result<()> {
    let (x, y) = (Scale::input(ctx, 0, 2)?, Scale::input(ctx, 1, 4)?);
    let widest = x.min.min(y.min).abs().max(x.max.max(y.max).abs());
    sum(ctx, x, y, widest * 16384.0)
}

fn bias_add(ctx: &mut KernelCtx) -> Result<()> {
    let (input, bias) = (ctx.input(0)?, ctx.input(1)?);
    if input.rank() < 2 {
        bail!(InvalidArgument, "Input tensor must be at least 2D: {}", input.shape());
    }
    if bias.rank() != 1 {
        bail!(InvalidArgument, "Biases must be 1D: {}", bias.shape());
    }
    if input.dims().last() != bias.dims().first() {
        bail!(
            InvalidArgument,
            "Must provide as many biases as the last dimension of the input tensor: {} vs. {}",
            bias.shape(),
            input.shape()
        );
    }
    let (x, y) = (Scale::input(ctx, 0, 2)?, Scale::input(ctx, 1, 4)?);
    let widest = x.max.max(-x.min).max(y.max.max(-y.min));
    sum(ctx, x, y, widest * 131_072.0)
}

fn multiply(ctx: &mut KernelCtx) -> Result<()> {
    let (x, y) = (Scale::input(ctx, 0, 2)?, Scale::input(ctx, 1, 4)?);
    let (a, b) = (centred(ctx, 0, x)?, centred(ctx, 1, y)?);
    let (dims, values) = pairs(ctx, &a, &b, |a, b| a * b)?;
    set(ctx, &dims, &values, product_range(x, y))
}

/// The range of floats that an input's numbers use, zero included.
fn used(ctx: &KernelCtx) -> Result<(Scale, f32, f32)> {
    let scale = Scale::input(ctx, 0, 1)?;
    let values = numbers(ctx.input(0)?)?;
    let least = values.iter().min().copied().unwrap_or(0);
    let most = values.iter().max().copied().unwrap_or(0);
    Ok((scale, scale.value(least).min(0.0), scale.value(most).max(0.0)))
}

/// 32-bit numbers as bytes in another range, in fixed-point arithmetic.
fn to_bytes(ctx: &mut KernelCtx, from: Scale, min: f32, max: f32) -> Result<()> {
    const SHIFT: u32 = 16;
    if ctx.input(0)?.dtype() != DType::Qint32 || ctx.node().output_types[0] != DType::Quint8 {
        bail!(InvalidArgument, "{} turns qint32 into quint8 alone", ctx.node().op);
    }
    let (input_range, output_range) = (from.max - from.min, max - min);
    let one = f64::from(1u32 << SHIFT);
    let (mut scale, mut offset, mut reciprocal) = (0i64, 0i64, 0.0f32);
    if output_range != 0.0 {
        reciprocal = (255.0 / f64::from(output_range)) as f32;
        scale = (255.0 * one * f64::from(input_range) / f64::from(output_range)) as i64;
        offset = (one * (f64::from(min) * 255.0) / f64::from(output_range)) as i64;
    }
    let middle = ((from.min + from.max) as f64 / 2.0) as f32;
    let input_offset = (middle * reciprocal * one as f32) as i64;
    let number = |v: i64| {
        let fixed = ((v * scale) >> 32) + input_offset - offset + (1 << (SHIFT - 1));
        (fixed >> SHIFT).clamp(0, 255)
    };
    let dims = Dims::from_slice(ctx.input(0)?.dims());
    let values: Vec<i64> = numbers(ctx.input(0)?)?.into_iter().map(number).collect();
    set(ctx, &dims, &values, (min, max))
}

fn shrink(ctx: &mut KernelCtx) -> Result<()> {
    let (scale, min, max) = used(ctx)?;
    to_bytes(ctx, scale, min, max)
}

fn range(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.is_empty() {
        bail!(InvalidArgument, "Input must not be empty.");
    }
    let (_, min, max) = used(ctx)?;
    ctx.set(0, Tensor::scalar(min))?;
    ctx.set(1, Tensor::scalar(max))
}

fn requantize(ctx: &mut KernelCtx) -> Result<()> {
    let scale = Scale::input(ctx, 0, 1)?;
    let (min, max) = (ctx.input(3)?.item::<f32>()?, ctx.input(4)?.item::<f32>()?);
    if min > 0.0 {
        bail!(InvalidArgument, "requested_output_min must be <= 0, but got {min}");
    }
    if max < min {
        bail!(InvalidArgument, "requested_output_max must be >= requested_output_min, but got {max} and {min}");
    }
    to_bytes(ctx, scale, min, max)
}

fn reshape(ctx: &mut KernelCtx) -> Result<()> {
    let wanted = ctx.input(1)?.to_i64s()?;
    let tensor = ctx.take(0)?;
    let known: i64 = wanted.iter().filter(|&&d| d >= 0).product();
    let open = wanted.iter().filter(|&&d| d < 0).count();
    let dims: Option<Dims> = wanted
        .iter()
        .map(|&d| match d {
            -1 if open == 1 && known > 0 && tensor.len() as i64 % known == 0 => Some(tensor.len() / known as usize),
            d => usize::try_from(d).ok(),
        })
        .collect();
    let Some(dims) = dims else { bail!(InvalidArgument, "{} values can't have the shape {wanted:?}", tensor.len()) };
    ctx.set(0, tensor.reshaped(&dims)?)?;
    ctx.forward(2, 1)?;
    ctx.forward(3, 2)
}
